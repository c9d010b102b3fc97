"""Conflicts, lost answers and a server that crashes: tried again for a while, then exit 6."""

from __future__ import annotations

import threading
import time
import uuid

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from backend import PostgresServer
from pyroaring import BitMap
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import select

from influence_store.errors import Busy, InputError, StorageError
from influence_store.schema import tables
from influence_store.schema.catalog import Block, BlockFile, Counter, Dataset, Run, Tag
from influence_store.store import retry
from influence_store.store.database import Database
from influence_store.store.store import Store
from influence_store.version import __version__

DIM = 4
SCHEMA = tables.embedding(DIM)


@pytest.fixture(scope="module")
def fragile():
    """A server that tests may crash."""
    started = PostgresServer()
    yield started
    started.close()


@pytest.fixture
def kept(fragile, tmp_path):
    """A store whose server may crash."""
    name = f"k{uuid.uuid4().hex}"
    fragile.copy(fragile.empty_catalog(), name)
    made, _ = Store.init(tmp_path / "kept", __version__, fragile.url(name))
    yield made
    made.database.close()


@pytest.fixture
def opened(let_in):
    """A store of a team."""
    shared = let_in()
    store = shared.open(shared.teams[0])
    yield store
    store.database.close()


def stage(store, run, sids):
    batch = pa.record_batch(
        [
            pa.array(np.asarray(sids, np.int64)),
            pa.FixedSizeListArray.from_arrays(pa.array(np.ones(len(sids) * DIM, np.float32)), DIM),
            pa.array(np.zeros(len(sids), bool)),
        ],
        schema=SCHEMA,
    )
    producer = store.producer("embedding", "e", {"weights": "x"}, dim=DIM)
    return run.stage("embedding", [batch], SCHEMA, BitMap(sids), producer_id=producer.id)


def at_once(*works):
    """Run them in threads and raise what one of them raised."""
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# -- conflicts --------------------------------------------------------------------------------


def test_writers_who_meet_are_run_again_until_each_took_effect(opened):
    def count():
        for _ in range(5):
            opened.database.write(add)

    def add(session):
        counter = session.get(Counter, "met") or Counter(name="met", next=0)
        counter.next += 1
        session.add(counter)

    at_once(*[count] * 6)
    with opened.database.read() as session:
        assert session.get(Counter, "met").next == 30


def test_a_deadlock_is_run_again(opened):
    for name in ("left", "right"):
        opened.database.write(lambda session, name=name: session.add(Counter(name=name, next=0)))
    both_hold_one = threading.Barrier(2)

    def cross(first, second):
        tries = []

        def work(session):
            tries.append(1)
            session.get(Counter, first, with_for_update=True).next += 1
            session.flush()
            if len(tries) == 1:
                both_hold_one.wait()
            session.get(Counter, second, with_for_update=True).next += 1

        opened.database.write(work)

    at_once(lambda: cross("left", "right"), lambda: cross("right", "left"))
    with opened.database.read() as session:
        assert session.exec(select(Counter.next).where(Counter.name != "met")).all() == [2, 2]


def test_two_who_claim_the_same_work_at_once_are_one_winner_and_one_told_busy(opened):
    told = []

    def claim():
        try:
            told.append(opened.claim("embed", "scope", {}).id)
        except Busy as error:
            told.append(type(error))

    at_once(*[claim] * 4)
    assert told.count(Busy) == 3


def test_a_reader_sees_one_moment_whatever_is_written_meanwhile(opened):
    def add(name):
        opened.database.write(lambda session: session.add(Dataset(name=name, created_at=0)))

    add("a")
    with opened.database.read() as session:
        assert session.exec(select(Dataset.name)).all() == ["a"]
        add("b")
        assert session.exec(select(Dataset.name)).all() == ["a"]
    with opened.database.read() as session:
        assert session.exec(select(Dataset.name).order_by(Dataset.id)).all() == ["a", "b"]


def test_a_reader_cannot_write(opened):
    with opened.database.read() as session:
        session.add(Dataset(name="a", created_at=0))
        with pytest.raises(DBAPIError, match="read-only transaction"):
            session.commit()


# -- the answer of a commit that took effect is lost ------------------------------------------


@pytest.fixture
def deaf(monkeypatch):
    """The next transaction commits, and its writer hears that the connection broke."""
    original, pending = Database._write, []

    def write(self, work):
        value = original(self, work)
        if pending and threading.current_thread() is threading.main_thread():
            pending.pop()
            gone = psycopg.OperationalError("server closed the connection unexpectedly")
            raise OperationalError("commit", {}, gone)
        return value

    monkeypatch.setattr(Database, "_write", write)
    return lambda: pending.append(1)


def test_a_claim_whose_answer_was_lost_is_held_and_not_busy_with_itself(opened, deaf):
    deaf()
    with opened.claim("embed", "scope", {}) as run:
        pass
    with opened.database.read() as session:
        assert [one.id for one in session.exec(select(Run)).all()] == [run.id]


def test_a_publish_whose_answer_was_lost_took_effect_once(opened, deaf):
    def more(session, _ids):
        counter = session.get(Counter, "more") or Counter(name="more", next=0)
        counter.next += 1
        session.add(counter)

    with opened.claim("embed", "scope", {}) as run:
        blocks = [stage(opened, run, [1, 2]), stage(opened, run, [3])]
        deaf()
        run.publish(blocks[:1], more)
        run.publish(blocks[1:], more)
        deaf()
        run.publish([], more)
    with opened.database.read() as session:
        assert session.get(Counter, "more").next == 3
        assert len(session.exec(select(Block)).all()) == 2
        assert [one.state for one in session.exec(select(Run)).all()] == ["committed"]


# -- the server crashes -----------------------------------------------------------------------


def test_a_run_goes_on_when_the_server_comes_back(fragile, kept):
    with kept.claim("embed", "scope", {}) as run:
        run.publish([stage(kept, run, [1, 2])])
        block = stage(kept, run, [3])
        fragile.crash()
        back = threading.Timer(1, fragile.start)
        back.start()
        run.publish([block])
        back.join()
    (embedder,) = kept.producers("embedding")
    assert list(kept.covered(embedder.id)) == [1, 2, 3]
    with kept.database.read() as session:
        assert session.exec(select(Run.state)).all() == ["committed"]
        assert len(session.exec(select(BlockFile.path)).all()) >= 6


def test_a_reader_waits_for_a_server_that_comes_back(fragile, kept):
    kept.producer("embedding", "e", {"weights": "x"}, dim=DIM)
    fragile.crash()
    back = threading.Timer(1, fragile.start)
    back.start()
    assert [one.name for one in kept.producers()] == ["e"]
    back.join()


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(fragile, kept, monkeypatch):
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr("influence_store.store.runs._BRIEFLY", 0.2)
    monkeypatch.setenv("INFLUENCE_STORE_LEASE_SECONDS", "1")

    def work():
        with kept.claim("embed", "scope", {}) as run:
            run.publish([stage(kept, run, [1, 2])])
            lost = stage(kept, run, [3])
            fragile.crash()
            run.publish([lost])

    with pytest.raises(StorageError, match="the catalog does not answer") as caught:
        work()
    assert caught.value.exit_code == 6
    with pytest.raises(StorageError):
        Store.open(kept.uri, __version__)
    fragile.start()
    time.sleep(1)  # the lease of the run that could not say that it ended
    with kept.claim("embed", "scope", {}) as run:
        (embedder,) = kept.producers("embedding")
        assert list(kept.covered(embedder.id)) == [1, 2]
        run.publish([stage(kept, run, [3])])
    assert list(kept.covered(embedder.id)) == [1, 2, 3]
    with kept.database.read() as session:
        states = session.exec(select(Run.state).order_by(Run.started_at)).all()
    assert states == ["aborted", "committed"]


# -- what the two databases hold differently --------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    [
        {"name": "a\0b", "number": 1},
        {"name": "".join(map(chr, range(0x4E00, 0x9000))), "number": 1},
        {"name": "n", "number": 1 << 40},
    ],
    ids=["NUL", "too long for an index", "too large"],
)
def test_what_postgresql_cannot_hold_is_bad_input_and_nothing_is_stored(opened, tag):
    def work(session):
        dataset = Dataset(name="d", created_at=0)
        session.add(dataset)
        session.flush()
        session.add(Tag(dataset_id=dataset.id, **tag))

    with pytest.raises(InputError, match="the catalog cannot hold this"):
        opened.database.write(work)
    with opened.database.read() as session:
        assert session.exec(select(Dataset)).all() == []


def test_large_numbers_and_bytes_come_back_as_they_went(opened):
    bits = BitMap([0, 7, 2**32 - 1]).serialize()
    told = {"n": 2**70, "text": "\0 ü \u2028"}

    def work(session):
        run = Run(
            id="r",
            verb="v",
            scope="s",
            state="committed",
            owner="o",
            lease_until=0,
            started_at=0,
            tool_version="t",
            params=told,
        )
        session.add(run)
        session.flush()
        block = Block(kind="samples", run_id="r", path="p", lance_version=1, n_rows=1,
                      checksum="c", bits=bits, published_at=0)  # fmt: skip
        session.add(block)
        session.flush()
        session.add(BlockFile(block_id=block.id, path="f", size=2**53, sha256="s"))

    opened.database.write(work)
    with opened.database.read() as session:
        found = session.exec(select(Block.bits)).one()
        assert type(found) is bytes
        assert BitMap.deserialize(found) == BitMap([0, 7, 2**32 - 1])
        assert session.exec(select(BlockFile.size)).one() == 2**53
        assert session.get(Run, "r").params == told


def test_the_clock_is_the_servers_in_any_time_zone(let_in):
    shared = let_in()
    url = shared.url(shared.teams[0])
    for zone in ("UTC", "Pacific/Apia", "America/St_Johns"):
        store = Store.open(shared.uri, __version__, f"{url}&options=-ctimezone%3D{zone}")
        with store.database.read() as session:
            assert abs(store.database.now(session) - time.time()) < 600
        store.database.close()
