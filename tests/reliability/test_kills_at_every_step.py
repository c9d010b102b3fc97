"""`kill -9` at every named step of every verb: the last committed state stays, a rerun finishes.

The incident behind it: a process that dies between writing a LanceDB table and recording it in SQL
must leave neither half a version nor rows that a later commit would pick up. Every killed process
is a fork of a warm parent, so that torch is imported once and not once per kill.
"""

from __future__ import annotations

import json
import random
import signal

import children
import polars as pl
import pytest
from command_line import ask, in_child
from sqlmodel import select

from influence_store.schema.catalog import Estimator, Selection
from influence_store.store.faults import INIT_STEPS, STEPS
from influence_store.store.grid import open_block

ROWS, PAIRS = 40, 100
BLOCK_STEPS = tuple(step for step in STEPS if step != "artifact-written")
TRAIN_STEPS = tuple(step for step in STEPS if not step.startswith("block-"))
KILLS = [
    *[(verb, step) for verb in ("ingest", "embed", "label", "fill", "select")
      for step in BLOCK_STEPS],
    *[("train", step) for step in TRAIN_STEPS],
    # later passes: the second block of an ingest, the pairs after the base states
    ("ingest", "block-read-back:2"), ("label", "published:2"), ("label", "block-synced:2"),
]  # fmt: skip
KINDS = ("samples", "rows", "embedding", "llm-state", "pairs", "estimate", "selection")
#: Their rows are pairs or ranks, not one per content of the block's bitmap.
NOT_BY_SID = ("pairs", "selection")
SIDS = ("sid", "source", "target")


def killed_at(step, place, arguments):
    """Run the verb in a child that kills itself at `step`."""
    environment = {"INFLUENCE_STORE_KILL_AT": step}
    assert children.run(in_child, place, arguments, environment) == -signal.SIGKILL


def state(place):
    """Every row that a reader can see, by kind; contents under their hash, not their number."""
    with place.opened() as store:
        ids = dict(store.sample_ids().select("sid", pl.col("sample_id").bin.encode("hex")).rows())
        seen = {kind: _rows(store, kind, ids) for kind in KINDS}
        seen["versions"] = frozenset(
            (str(version), *sorted(ids[sid] for sid in version.bits))
            for version in store.versions()
        )
        with store.database.read() as session:
            networks = session.exec(select(Estimator.network, Estimator.verdict)).all()
            chosen = session.exec(select(Selection.objective, Selection.n_items)).all()
        seen |= {"estimators": frozenset(networks), "selections": frozenset(chosen)}
    return seen


def _rows(store, kind, ids):
    rows = set()
    for block in store.blocks(kind):
        names = open_block(store.storage, block).schema.names
        scanned = [] if kind in NOT_BY_SID else store.scan([block], names)
        if kind in NOT_BY_SID:
            scanned = open_block(store.storage, block).scan(names)
        for batch in scanned:
            frame = pl.DataFrame(pl.from_arrow(batch))
            columns = [
                [ids[sid] for sid in frame[name]] if name in SIDS else _hashable(frame[name])
                for name in names
            ]
            rows |= set(zip(*columns, strict=True))
    return frozenset(rows)


def _hashable(column):
    return [tuple(v) if isinstance(v, (list, pl.Series)) else v for v in column.to_list()]


def record(k):
    rng = random.Random(k)
    a, b = rng.randint(2, 90), rng.randint(2, 90)
    asked, answer = [
        (f"What is {a} plus {b}?", f"{a} + {b} = {a + b}."),
        (f"Write a function that multiplies by {a}.", f"def times(x):\n    return {a} * x"),
        (f"Is {a} larger than {b}? Explain.", f"{'Yes' if a > b else 'No'}: {a} against {b}."),
    ][k % 3]
    return json.dumps({"instruction": f"{asked} (#{k})", "output": answer}) + "\n"


@pytest.fixture(scope="module")
def stages(places, tmp_path_factory, tiny_llm):
    """The main job: each verb, the store before it, what is seen before and after."""
    rows = tmp_path_factory.mktemp("stages") / "rows.jsonl"
    rows.write_text("".join(map(record, range(ROWS))))
    commands = {
        "ingest": ["ingest", str(rows), "--dataset", "demo"],
        "embed": ["embed", "demo", "--embedder", "hashing:32"],
        "label": ["label", "demo", "--model", str(tiny_llm), "--pairs", str(PAIRS)],
        "train": ["train", "demo", "--network", "two-step-kernel-ridge"],
        "fill": ["fill", "demo"],
        "select": ["select", "demo", "--budget", "20", "--accept-weak"],
    }
    place = places.fresh()
    told, before = {}, state(place)
    for verb, command in commands.items():
        copy = places.copy(place)
        ask(place, *command)
        after = state(place)
        told[verb] = (command, copy, before, after)
        before = after
    return told


@pytest.mark.parametrize("step", INIT_STEPS)
def test_killed_init_is_finished_by_the_next(places, step):
    if places.name != "sqlite":
        pytest.skip("the steps of init are those of a folder")
    place = places.fresh()
    places.drop(place)
    killed_at(step, place, ["init"])
    ask(place, "init")
    assert ask(place, "status")["contents"] == 0


@pytest.mark.parametrize(("verb", "step"), KILLS, ids=lambda value: str(value))
def test_killed_verb_leaves_the_old_state_and_a_rerun_finishes(places, stages, verb, step):
    command, original, before, finished = stages[verb]
    place = places.copy(original)

    killed_at(step, place, command)

    left = state(place)
    for kind in finished:
        if verb == "label":  # publishes in several steps, each row a fact
            assert before[kind] <= left[kind] <= finished[kind], kind
        else:
            assert left[kind] in (before[kind], finished[kind]), kind
    if step in ("claimed", "block-written", "block-synced", "publish-begun"):
        assert left == before
    assert ask(place, "status")["working"] == []

    ask(place, *command)
    assert state(place) == finished
    assert ask(place, "status")["interrupted"] == []
    places.drop(place)
