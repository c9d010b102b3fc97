"""The commit protocol: one writer per scope, fencing, all or nothing, one value per fact."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap
from sqlmodel import select

from influence_store.errors import Busy, Fenced, IntegrityError
from influence_store.schema import tables
from influence_store.schema.catalog import Block, BlockFile, Run
from influence_store.store import blocks, owner

DIM = 4
SCHEMA = tables.embedding(DIM)


def cells(sids, value):
    sids = np.asarray(sids, np.int64)
    flat = pa.array(np.full(len(sids) * DIM, value, np.float32))
    flags = pa.array(np.zeros(len(sids), bool))
    vectors = pa.FixedSizeListArray.from_arrays(flat, DIM)
    return [pa.record_batch([pa.array(sids), vectors, flags], schema=SCHEMA)]


def stage(run, producer, sids, value=1.0):
    return run.stage("embedding", cells(sids, value), SCHEMA, BitMap(sids), producer_id=producer.id)


@pytest.fixture
def producer(store):
    return store.producer("embedding", "e", {"weights": "x"}, dim=DIM)


def states(store):
    with store.database.read() as session:
        return [run.state for run in session.exec(select(Run).order_by(Run.started_at)).all()]


def test_nothing_is_visible_before_publish(store, producer):
    with store.claim("embed", "scope", {}) as run:
        block = stage(run, producer, [1, 2])
        assert not store.covered(producer.id)
        run.publish([block])
        assert list(store.covered(producer.id)) == [1, 2]
    assert states(store) == ["committed"]


def test_a_live_run_makes_others_wait(store):
    with store.claim("embed", "scope", {}):
        with pytest.raises(Busy, match=r"embed is already at work here: .*pid \d+"):
            store.claim("embed", "scope", {})
        with store.claim("embed", "another scope", {}):
            pass


def test_an_exception_marks_the_run_failed_and_frees_the_scope(store):
    with pytest.raises(KeyError), store.claim("embed", "scope", {}):
        raise KeyError
    with store.claim("embed", "scope", {}):
        pass
    assert states(store) == ["failed", "committed"]


def test_a_dead_owner_is_taken_over_at_once(store, monkeypatch):
    code = "from influence_store.store.owner import this_process; print(this_process())"
    gone = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert owner.is_dead(gone)
    monkeypatch.setattr("influence_store.store.owner.this_process", lambda: gone)
    store.claim("embed", "scope", {})
    monkeypatch.undo()
    with store.claim("embed", "scope", {}):
        assert states(store) == ["aborted", "writing"]


def test_owner_of_this_process_lives_and_of_another_host_is_left_to_its_lease():
    mine = owner.this_process()
    assert not owner.is_dead(mine)
    host, boot, pid, started = mine.split("|")
    assert owner.is_dead(f"{host}|another-boot|{pid}|{started}")
    assert owner.is_dead(f"{host}|{boot}|{pid}|1")  # the pid was given to another process
    assert not owner.is_dead(f"elsewhere|{boot}|{pid}|1")


def test_a_run_that_lost_its_lease_cannot_publish(store, producer, monkeypatch):
    asleep = store.claim("embed", "scope", {})  # no heartbeat: as if stopped
    block = stage(asleep, producer, [1, 2])
    monkeypatch.setenv("INFLUENCE_STORE_LEASE_SECONDS", "-1")
    expired = store.claim("embed", "other", {})
    monkeypatch.undo()
    with store.database.read() as session:
        late = session.get(Run, expired.id)
        assert late is not None
        assert late.lease_until < store.database.now(session)

    def expire(session):
        run = session.get(Run, asleep.id)
        run.lease_until = 0.0
        session.add(run)

    store.database.write(expire)
    with store.claim("embed", "scope", {}) as successor:
        with pytest.raises(Fenced, match="lost its claim"):
            asleep.publish([block])
        successor.publish([stage(successor, producer, [1, 2], 7.0)])
    assert store.vectors(producer, np.array([1]))[0].tolist() == [7.0] * DIM


def test_a_cell_published_meanwhile_keeps_its_first_value(store, producer):
    with store.claim("embed", "one", {}) as one, store.claim("embed", "two", {}) as two:
        late = stage(two, producer, [1, 2, 3], 2.0)
        one.publish([stage(one, producer, [2], 1.0)])
        two.publish([late])
    found = store.vectors(producer, np.array([1, 2, 3]))[:, 0]
    assert found.tolist() == [2.0, 1.0, 2.0]
    held = [list(block.bits) for block in store.blocks("embedding", producer_id=producer.id)]
    assert held == [[2], [1, 3]]


def test_publish_is_all_or_nothing(store, producer):
    def fails(_session, _ids):
        raise RuntimeError("after the blocks were inserted")

    with pytest.raises(RuntimeError), store.claim("embed", "scope", {}) as run:
        run.publish([stage(run, producer, [1])], fails)
    with store.database.read() as session:
        assert session.exec(select(Block)).all() == []
        assert session.exec(select(BlockFile)).all() == []


def test_every_file_of_a_block_is_vouched_for(store, producer):
    with store.claim("embed", "scope", {}) as run:
        run.publish([stage(run, producer, range(100))])
    with store.database.read() as session:
        block = session.exec(select(Block)).one()
        known = {(file.path, file.size, file.sha256) for file in session.exec(select(BlockFile))}
    found = {
        (file.path, file.size, file.sha256) for file in blocks.hash_files(store.storage, block.path)
    }
    assert found == known
    assert len(found) >= 3


def test_what_reads_back_differently_is_not_staged(store, producer, monkeypatch):
    original = blocks.PinnedTable.scan

    def corrupted(self, columns):
        for batch in original(self, columns):
            yield batch.slice(0, batch.num_rows - 1)

    monkeypatch.setattr(blocks.PinnedTable, "scan", corrupted)
    with (
        pytest.raises(IntegrityError, match=r"written with 5 rows but reads back .*4 rows"),
        store.claim("embed", "scope", {}) as run,
    ):
        stage(run, producer, range(5))


def test_a_block_that_lost_rows_is_refused_when_read(store, producer):
    with store.claim("embed", "scope", {}) as run:
        run.publish([stage(run, producer, range(10))])

    def forget(session):
        block = session.exec(select(Block)).one()
        block.n_rows = 11
        session.add(block)

    store.database.write(forget)
    with pytest.raises(IntegrityError, match="has 10 rows, the catalog vouches for 11"):
        store.vectors(producer, np.arange(10))


def test_reserved_sids_never_overlap(store):
    first, second = store.reserve_sids(10), store.reserve_sids(5)
    assert second >= first + 10
