"""`verify --deep`: the same problems, whoever looks; a block that kills its inspector is one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from raw_path import raw_path
from shop import Deadly, Murderous, Sent, with_rows

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import StoreNotFound
from influence_store.execution import LOCAL, StoreAt
from influence_store.jobs import embed as embed_job
from influence_store.jobs.inspect_all import Inspecting, inspect_all
from influence_store.jobs.verify_store import verify_store

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(params=["local", "sent", "ray"])
def engine(request):
    """Each of the engines, and one that only sends."""
    made = {"local": LOCAL, "sent": Sent()}
    return made.get(request.param) or request.getfixturevalue("cluster")


@pytest.fixture
def demo(store, tmp_path, monkeypatch):
    """`demo` of 24 rows in three blocks of embeddings."""
    monkeypatch.setattr(embed_job, "CHUNK_ROWS", 8)
    with_rows(store, 24, tmp_path)
    embed_job.embed(store, store.version("demo"), HashingEmbedder(8), "hashing:8")
    return store


def data_file(store, block):
    (path,) = (raw_path(store.storage.uri) / block.path / "data").iterdir()
    return path


def zero(path):
    path.write_bytes(bytes(len(path.read_bytes())))


def test_problems_are_told_in_the_same_order(demo, engine):
    first, second, third = demo.blocks("embedding")
    content = data_file(demo, first).read_bytes()
    data_file(demo, first).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    data_file(demo, second).unlink()
    zero(data_file(demo, third))
    problems = verify_store(demo, deep=True, executor=engine).problems
    assert [(one.code, one.owner) for one in problems] == [
        ("missing", second.path),
        ("changed", first.path),
        ("changed", third.path),
    ]
    assert problems[1].affects == ("demo@1",)


def test_a_block_that_kills_its_inspector_is_a_problem_and_the_others_are_looked_at(demo, engine):
    first, second, third = demo.blocks("embedding")
    for block in (first, third):
        zero(data_file(demo, block))
    problems = verify_store(demo, deep=True, executor=Murderous(engine, second.path)).problems
    assert [(one.code, one.owner) for one in problems] == [
        ("changed", first.path),
        ("unreadable", second.path),
        ("changed", third.path),
    ]
    assert problems[1].found == "reading it ended the checking process (exit code -9)"


def test_a_worker_that_ends_is_no_problem_of_the_store(demo, cluster, lethal):
    zero(data_file(demo, demo.blocks("embedding")[1]))
    (problem,) = verify_store(demo, deep=True, executor=Deadly(cluster, lethal(2))).problems
    assert (problem.code, problem.owner) == ("changed", demo.blocks("embedding")[1].path)


def test_a_machine_that_does_not_see_the_store_finds_no_problems_but_stops(store):
    elsewhere = replace(StoreAt.of(store), uri=f"{store.uri}-elsewhere")
    with pytest.raises(StoreNotFound):
        Inspecting(elsewhere, "", None).open()


def test_workers_share_the_speed_that_is_allowed(store):
    @dataclass
    class Four:
        workers: int = 4

        def map(self, work, shards, slot, here):
            self.work = work
            return LOCAL.map(work, shards, slot, here)

    engine = Four()
    assert list(inspect_all(store, [], max_mb_per_s=2000, executor=engine)) == []
    assert engine.work.max_mb_per_s == 500
