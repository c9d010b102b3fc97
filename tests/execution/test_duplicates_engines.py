"""`duplicates`: the same keys and edges, whoever compares."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from shop import Deadly, Sent, contents

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.execution import LOCAL
from influence_store.jobs import duplicate_edges
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.duplicate_edges import Alike
from influence_store.jobs.embed import embed
from influence_store.jobs.gc import gc
from influence_store.jobs.ingest import ingest
from influence_store.jobs.near_duplicates import duplicates
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.verify_store import verify_store
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = pytest.mark.xdist_group("ray")
ALIKE = Alike(jaccard=0.7, cosine=0.9)


@pytest.fixture
def twins(store, copy_store, tmp_path, monkeypatch):
    """Two stores of 20 embedded rows, of which every fourth has a near copy; shards of eight."""
    for name in ("KEY_ROWS", "WORD_ROWS", "TWIN_ROWS"):
        monkeypatch.setattr(duplicate_edges, name, 8)
    add(store, range(16), tmp_path)
    copied = Store.open(copy_store(store.uri, tmp_path / "copy"), __version__)
    yield store, copied
    copied.database.close()


def add(store, numbers, folder):
    """A version with the rows of these numbers, and a near copy of every fourth."""
    rows = []
    for k in numbers:
        words = [f"w{word}" for word in random.Random(k).choices(range(1000), k=30)]
        rows.append({"instruction": f"row {k}", "output": " ".join(words)})
        if k % 4 == 0:
            rows.append({"instruction": f"row {k}", "output": " ".join([*words[:-1], "other"])})
    path = folder / f"demo-{min(numbers)}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(path)], "demo")
    embed(store, store.version("demo"), HashingEmbedder(64), "hashing:64")


def compared(store, executor=LOCAL):
    return duplicates(store, store.version("demo"), ALIKE, executor)


def assert_same(twins, n_keys, n_edges):
    for kind, n_blocks in (("minhash", n_keys), ("duplicates", n_edges)):
        assert len(contents(twins[0], kind)) == n_blocks
        assert contents(twins[0], kind) == contents(twins[1], kind)


def test_keys_and_edges_are_the_same_blocks(twins, cluster):
    here, there = twins
    reports = compared(here), compared(there, cluster)
    assert reports[0] == reports[1]
    assert reports[0].edges == {"words": 4, "twins": 4}
    assert_same(twins, n_keys=3, n_edges=6)


def test_new_rows_are_compared_with_old_ones(twins, tmp_path):
    here, there = twins
    for store, engine in ((here, LOCAL), (there, Sent())):
        compared(store, engine)
        add(store, range(16, 32), tmp_path)
    reports = compared(here), compared(there, Sent())
    assert reports[0] == reports[1]
    assert (reports[0].compared, reports[0].edges) == (20, {"words": 8, "twins": 8})
    assert_same(twins, n_keys=6, n_edges=12)


def test_a_worker_that_is_killed_with_keys_or_edges_in_its_hands_loses_nothing(
    twins, cluster, lethal
):
    here, there = twins
    assert compared(here) == compared(there, Deadly(cluster, lethal(2)))
    assert_same(twins, n_keys=3, n_edges=6)
    assert verify_store(there, deep=True).leftover_files > 0
    gc(there, grace=0, act=True)
    after = verify_store(there, deep=True)
    assert (after.problems, after.leftover_files) == ([], 0)


def test_a_selection_in_parts_leaves_out_the_same_near_duplicates(twins):
    asked = Asked(budget="8", path="partitioned", parts=2, duplicates="keep-first")
    here, there = twins
    mine, theirs = choose(here, "demo", asked, {}), choose(there, "demo", asked, {}, Sent())
    assert mine.id == theirs.id
    picks = [stored_selection(store, mine.id).sids for store in twins]
    np.testing.assert_array_equal(*picks)
    assert_same(twins, n_keys=3, n_edges=6)
