"""`kill -9` at every step of compact, forget, delete and tag: all of it happened, or nothing."""

from __future__ import annotations

import signal
from contextlib import nullcontext

import children
import pytest
from many_versions import die_at, do, state

from influence_store.errors import NotFound
from influence_store.jobs.invariants import broken_invariants
from influence_store.store.store import Store
from influence_store.version import __version__

CATALOG_STEPS = ("publish-begun", "published")
BLOCK_STEPS = ("claimed", "block-written", "block-hashed", *CATALOG_STEPS)
KILLS = [
    *[(verb, step) for verb in ("compact", "forget") for step in BLOCK_STEPS],
    *[(verb, step) for verb in ("delete", "undo", "tag") for step in CATALOG_STEPS],
    # The second merge of a compaction, the last of the blocks that are written without a sample.
    ("compact", "block-hashed:2"), ("compact", "published:2"), ("forget", "block-hashed:3"),
]  # fmt: skip
ARGUMENTS = {
    "compact": lambda _: (),
    "forget": lambda three: (*three.sample_ids(4, 11),),
    "delete": lambda _: ("demo@3",),
    "undo": lambda _: ("demo@1",),
    "tag": lambda _: ("demo@2", "paper"),
}


@pytest.fixture(scope="module")
def before(three_versions, copy_store, tmp_path_factory):
    """A tag and a deleted version are there to be moved and brought back."""
    uri = copy_store(three_versions, tmp_path_factory.mktemp("killed") / "store")
    do(uri, "tag", "demo@1", "paper")
    do(uri, "delete", "demo@1", True)
    return uri


@pytest.fixture(scope="module")
def finished(before, copy_store, tmp_path_factory):
    """The state that each verb leads to."""
    known = {}

    def of(verb, arguments):
        if verb not in known:
            uri = copy_store(before, tmp_path_factory.mktemp("whole") / "store")
            do(uri, verb, *arguments)
            store = Store.open(uri, __version__)
            known[verb] = state(store)
            store.database.close()
        return known[verb]

    return of


@pytest.mark.parametrize(("verb", "step"), KILLS, ids=str)
def test_a_killed_verb_did_all_or_nothing_and_a_rerun_does_all(
    before, finished, opened_copy, verb, step
):
    left = opened_copy(before)
    arguments = ARGUMENTS[verb](left)
    old, new = state(left.store), finished(verb, arguments)
    assert (old == new) == (verb == "compact")

    code = children.run(die_at, step, left.store.uri, verb, *arguments)

    assert code == -signal.SIGKILL
    seen = state(left.store)
    assert seen == (new if step.startswith("published") else old)
    # What is deleted, or is not deleted any more, cannot be so again; that is told.
    done = verb in ("delete", "undo") and seen == new
    with pytest.raises(NotFound) if done else nullcontext():
        do(left.store.uri, verb, *arguments)
    assert state(left.store) == new
    with left.store.database.read() as session:
        assert list(broken_invariants(session)) == []
