"""Whoever does the work, the store holds the same: every engine, the same blocks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from shop import CountingCores, Deadly, Refusing, contents, with_rows
from sqlmodel import select

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import Fenced, ReadError, WorkerLost
from influence_store.execution import LOCAL
from influence_store.execution.ray import resources
from influence_store.jobs import embed as embed_job
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.embed import embed
from influence_store.jobs.gc import gc
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.verify_store import verify_store
from influence_store.meter import Taken
from influence_store.schema.catalog import Run
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = pytest.mark.xdist_group("ray")
ROWS = 60


@pytest.fixture
def demo(store, tmp_path, monkeypatch):
    """`demo` of 60 rows, to be embedded in shards of eight."""
    monkeypatch.setattr(embed_job, "CHUNK_ROWS", 8)
    return with_rows(store, ROWS, tmp_path)


def embedded(store, executor=LOCAL, dim=8):
    version = store.version("demo")
    return embed(store, version, HashingEmbedder(dim), f"hashing:{dim}", executor)


def cpu_seconds(store, verb):
    """What the runs of a verb say they took."""
    with store.database.read() as session:
        return sum(r.cost["cpu_seconds"] for r in session.exec(select(Run)) if r.verb == verb)


def test_embeddings_are_the_same_blocks(demo, copy_store, tmp_path, cluster):
    copied = Store.open(copy_store(demo.uri, tmp_path / "copy"), __version__)
    reports = embedded(demo), embedded(copied, cluster)
    assert reports[0] == reports[1]
    assert len(contents(demo, "embedding")) == 8
    assert contents(demo, "embedding") == contents(copied, "embedding")
    copied.database.close()


def test_a_worker_that_is_killed_with_a_shard_in_its_hands_loses_nothing(
    demo, copy_store, tmp_path, cluster, lethal
):
    copied = Store.open(copy_store(demo.uri, tmp_path / "copy"), __version__)
    embedded(demo)
    embedded(copied, Deadly(cluster, lethal(1)))
    assert contents(demo, "embedding") == contents(copied, "embedding")
    assert verify_store(copied, deep=True).leftover_files > 0
    gc(copied, grace=0, act=True)
    after = verify_store(copied, deep=True)
    assert (after.problems, after.leftover_files) == ([], 0)
    copied.database.close()


def test_a_shard_that_ends_every_worker_is_named_and_what_came_before_stays(demo, cluster, lethal):
    with pytest.raises(WorkerLost, match=r"shard \d+ ended 3 workers"):
        embedded(demo, Deadly(cluster, lethal(20)))
    assert verify_store(demo, deep=True).problems == []
    report = embedded(demo, cluster)
    assert report.computed + report.reused == ROWS
    assert verify_store(demo, deep=True).problems == []


def test_a_selection_in_parts_is_the_same(demo, copy_store, tmp_path, cluster, lethal):
    embedded(demo)
    asked = Asked(budget="10", path="partitioned", parts=4)
    copied = Store.open(copy_store(demo.uri, tmp_path / "copy"), __version__)
    here = choose(demo, "demo", asked, {})
    before = cluster.taken.cpu
    there = choose(copied, "demo", asked, {}, cluster)
    assert cpu_seconds(copied, "select") >= cluster.taken.cpu - before > 0
    another = replace(asked, seed=1)
    deadly = choose(copied, "demo", another, {}, Deadly(cluster, lethal(1)))
    assert (here.id, here.reused, there.reused) == (there.id, False, False)
    mine, theirs = (stored_selection(one, here.id) for one in (demo, copied))
    np.testing.assert_array_equal(mine.sids, theirs.sids)
    np.testing.assert_array_equal(mine.gains, theirs.gains)
    other = stored_selection(demo, choose(demo, "demo", another, {}).id)
    np.testing.assert_array_equal(other.sids, stored_selection(copied, deadly.id).sids)
    copied.database.close()


def test_an_error_of_ours_arrives_as_itself_behind_what_was_done(executor):
    results = executor.map(Refusing(), range(9), lambda: None, None)
    told = []
    with pytest.raises(ReadError, match=r"rows\.jsonl:4: no object") as caught:
        told.extend(results)
    assert (caught.value.where, caught.value.hint) == ("rows.jsonl:4", "mend that line")
    assert told == [json.dumps(k) for k in range(len(told))]


def test_a_worker_uses_the_one_core_that_was_reserved_for_it(cluster):
    assert list(cluster.map(CountingCores(), range(3), lambda: None, None)) == [1, 1, 1]


def test_workers_of_a_run_that_lost_its_claim_publish_nothing(demo, cluster):
    class Usurped:
        """Takes the run's claim away while its workers are at it."""

        elsewhere, taken = True, Taken()

        def map(self, work, shards, slot, here):
            for result in cluster.map(work, shards, slot, here):
                demo.database.write(lose)
                yield result

    def lose(session):
        for run in session.exec(select(Run).where(Run.verb == "embed")):
            run.state = "aborted"

    with pytest.raises(Fenced):
        embedded(demo, Usurped())
    assert demo.blocks("embedding") == []


def test_a_model_on_a_gpu_reserves_one():
    assert resources("cuda:0") == {"num_cpus": 1, "num_gpus": 1}
    assert resources("cpu") == {"num_cpus": 1, "num_gpus": 0}
    assert resources("mps") == {"num_cpus": 1, "num_gpus": 0}
