"""Compaction changes how many blocks there are, and nothing else that anybody can see."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap
from sqlmodel import select

from influence_store.errors import Fenced, IntegrityError
from influence_store.jobs import compact as module
from influence_store.jobs.attributes import attributes
from influence_store.jobs.compact import compact
from influence_store.jobs.invariants import broken_invariants
from influence_store.jobs.rewrite import merge_cells
from influence_store.schema import tables
from influence_store.schema.catalog import Block, Estimator, Producer, Run
from influence_store.store import blocks as staging

PAIRS = tables.pairs(("value",))


def cells(run, producer, sids, values):
    schema = tables.points(("score",))
    n = len(sids)
    columns = [
        pa.array(sids, pa.int64()),
        pa.array(values, pa.float64()),
        pa.array(np.ones(n, np.int64)),
        pa.array(np.zeros(n, np.bool_)),
    ]
    batch = pa.record_batch(columns, schema=schema)
    return run.stage("points", [batch], schema, BitMap(sids), producer_id=producer.id)


def pairs(run, producer, rows):
    source, target, value = (list(one) for one in zip(*rows, strict=True))
    columns = [pa.array(source), pa.array(target), pa.array(value, pa.float32())]
    batch = pa.record_batch(columns, schema=PAIRS)
    return run.stage("pairs", [batch], PAIRS, BitMap(source), producer_id=producer.id)


def live(store, kind=None):
    with store.database.read() as session:
        rows = session.exec(select(Block)).all()
    return [row for row in rows if row.retired_at is None and kind in (None, row.kind)]


def owners_of(store):
    """The dataset that brought each row first; the last versions of both share some."""
    return [
        owner
        for name in ("demo", "other")
        for owner in attributes(store, store.version(name), "dataset")
    ]


def sound(store):
    with store.database.read() as session:
        return list(broken_invariants(session)) == []


def test_every_view_stays_bit_for_bit_and_few_blocks_are_left(history):
    store = history.store
    for k in range(3):
        history.add(range(k * 5, k * 5 + 8), removed=(k * 5 - 3,) if k else ())
        if k != 1:  # rows of two datasets lie mixed in the blocks
            history.add(range(k * 5 + 2, k * 5 + 30), "other")
    before, digests, owners = len(live(store)), history.digests(), owners_of(store)
    planned = compact(store, plan_only=True)
    assert len(live(store)) == before
    report = compact(store)
    assert (planned.before, planned.after) == (report.before, report.after)
    assert {row.kind for row in live(store)} == {"samples", "rows", "embedding"}
    assert len(live(store)) == 4  # rows once per dataset
    assert history.digests() == digests
    assert owners_of(store) == owners
    assert {"demo", "other"} == set(owners)
    assert sound(store)
    assert compact(store).before == 0
    # What comes afterwards finds all that was there.
    assert history.add(range(40)).new_contents == 0


def test_one_dataset_can_be_compacted_alone(history):
    for k in range(3):
        history.add([k], embedded=False)
        history.add([100 + k], "other", embedded=False)
    compact(history.store, "other")
    per_dataset = [row.dataset_id for row in live(history.store, "rows")]
    assert sorted(per_dataset.count(one) for one in set(per_dataset)) == [1, 3]


def test_merged_rows_ascend_and_leave_out_what_another_block_speaks_for(store):
    producer = store.producer("points", "m", {"outputs": ["score"]})
    rng = np.random.default_rng(0)
    truth = {}
    with store.claim("label", "a", {}) as one, store.claim("label", "b", {}) as two:
        for part in np.array_split(rng.permutation(40_000), 3):
            sids = np.sort(part)
            overlap = np.unique([*sids[:50], *(sids[-50:] + 1)])
            values = rng.random(len(sids))
            late = cells(two, producer, overlap, np.full(len(overlap), -1.0))
            one.publish([cells(one, producer, sids, values)])
            truth.update(zip(sids.tolist(), values.tolist(), strict=True))
            two.publish([late])  # its bits lack what `one` was first with
    with store.database.read() as session:
        spoken = sum(len(BitMap.deserialize(row.bits)) for row in session.exec(select(Block)))
    first = {sid: value for sid, value in store.points(producer).select("sid", "score").iter_rows()}
    compact(store)
    (block,) = store.blocks("points")
    table = pa.Table.from_batches(store.scan([block], ["sid", "score"]))
    assert table.num_rows == block.n_rows == len(block.bits) == spoken
    assert np.all(np.diff(table["sid"].to_numpy()) > 0)
    assert dict(zip(*(column.to_pylist() for column in table.columns), strict=True)) == first
    assert sum(first[sid] == value for sid, value in truth.items()) > 39_000


def test_a_block_grows_to_the_target_and_no_further(store, monkeypatch):
    monkeypatch.setattr(module, "TARGET_ROWS", 100)
    producer = store.producer("points", "m", {"outputs": ["score"]})
    with store.claim("label", "a", {}) as run:
        for start in range(0, 270, 30):
            sids = np.arange(start, start + 30)
            run.publish([cells(run, producer, sids, sids / 7)])
        run.publish([cells(run, producer, np.arange(300, 360), np.zeros(60))])
    compact(store)
    assert [block.n_rows for block in store.blocks("points")] == [60, 90, 90, 90]


def test_the_first_value_of_a_pair_stays_whatever_is_merged(store, monkeypatch):
    monkeypatch.setattr(module, "TARGET_ROWS", 40)
    producer = store.producer("pairs", "delift", {"outputs": ["value"]})
    rng = np.random.default_rng(3)
    with store.claim("label", "a", {}) as run:
        for k in range(9):
            found = {(int(a), int(b)) for a, b in rng.integers(0, 12, (15, 2))}
            run.publish([pairs(run, producer, [(a, b, k) for a, b in sorted(found)])])
    before, covered = store.pairs(producer), store.covered(producer.id)
    assert before.height < sum(block.n_rows for block in store.blocks("pairs"))
    compact(store)
    merged = store.blocks("pairs")
    assert store.pairs(producer).equals(before)
    assert sum(block.n_rows for block in merged) == before.height
    assert [block.n_rows for block in merged] == [40, 40, before.height - 80]
    assert store.covered(producer.id) == covered


def test_labels_from_before_and_after_a_training_stay_apart(store):
    producer = store.producer("points", "m", {"outputs": ["score"]})
    with store.claim("label", "a", {}) as run:
        for k in range(3):
            run.publish([cells(run, producer, [2 * k, 2 * k + 1], [0.0, 1.0])])
    artifact = store.put_artifact(b"onnx", "onnx")
    with store.claim("train", "t", {}) as training:

        def trained(session, _ids):
            made = Producer(fingerprint="f", kind="estimate", name="e", created_at=0.0)
            session.add(made)
            session.flush()
            session.add(
                Estimator(
                    producer_id=made.id, method_id=producer.id, output="score", network="ridge",
                    embedder_id=producer.id, artifact=artifact.sha256, verdict="trusted",
                    run_id=training.id,
                )
            )  # fmt: skip

        training.publish([], trained, [artifact])
    with store.claim("label", "a", {}) as run:
        for k in range(3, 6):
            run.publish([cells(run, producer, [2 * k, 2 * k + 1], [0.0, 1.0])])
    with store.database.read() as session:
        started = session.get_one(Run, training.id).started_at
    compact(store)
    first, second = live(store)
    assert first.published_at <= started < second.published_at
    assert BitMap.deserialize(first.bits) == BitMap(range(6))


def test_blocks_pulled_from_elsewhere_keep_their_origin(store):
    producer = store.producer("points", "m", {"outputs": ["score"]})
    origin = {"store": "s" * 32, "run": "r"}
    with store.claim("pull", "a", {}) as run:
        for k in range(4):
            block = cells(run, producer, [k], [0.5])
            pulled = {**vars(block), "origin": origin if k % 2 else None}
            run.publish([staging.StagedBlock(**pulled)])
    compact(store)
    found = {row.origin.get("store"): sorted(BitMap.deserialize(row.bits)) for row in live(store)}
    assert found == {None: [0, 2], "s" * 32: [1, 3]}


def test_a_damaged_block_is_never_copied(history):
    for k in range(3):
        history.add([k], embedded=False)
    before = history.digests()

    def lie(session):
        row = session.exec(select(Block).where(Block.kind == "rows")).first()
        row.checksum = "0" * 32
        session.add(row)

    history.store.database.write(lie)
    with pytest.raises(IntegrityError, match="reads back differently from what was published"):
        compact(history.store)
    assert history.digests() == before
    assert len(live(history.store, "rows")) == 3


def test_a_compaction_that_lost_a_race_publishes_nothing(history):
    for k in range(3):
        history.add([k], embedded=False)
    store = history.store
    blocks = store.blocks("rows")
    with store.claim("compact", "first", {}) as slow:
        late = merge_cells(store, slow, blocks)
        compact(store)
        before = [row.id for row in live(store)]
        with pytest.raises(Fenced, match="was replaced by another run meanwhile"):
            slow.publish([late.staged], retire=[block.id for block in blocks])
    assert [row.id for row in live(store)] == before


def test_a_pair_published_while_others_are_merged_stays_behind_them(store, monkeypatch):
    producer = store.producer("pairs", "delift", {"outputs": ["value"]})
    with store.claim("label", "a", {}) as run:
        for k in range(4):
            run.publish([pairs(run, producer, [(k, 0, 1.0)])])
    original, asked = module.merge_pairs, [1]

    def merge(*args, **kwargs):
        made = original(*args, **kwargs)
        if asked.pop():
            with store.claim("label", "b", {}) as other:
                other.publish([pairs(other, producer, [(0, 0, 9.0)])])
        return made

    monkeypatch.setattr(module, "merge_pairs", merge)
    with pytest.raises(Fenced, match="pairs of delift were published meanwhile"):
        compact(store)
    assert store.pairs(producer).filter(source=0)["value"].to_list() == [1.0]
