"""Exact search for the largest products, over blocks that hold more rows than are asked about."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap

from influence_store.schema import tables

DIM = 8


def publish(store, run, producer, sids, vectors, measured):
    batch = pa.record_batch(
        [
            pa.array(sids),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
            pa.array(measured),
            pa.array(np.ones(len(sids), np.int64)),
            pa.array(np.zeros(len(sids), np.bool_)),
        ],
        schema=tables.vectors(DIM),
    )
    bits = BitMap(sids.astype(np.uint32))
    run.publish([run.stage("vectors", [batch], batch.schema, bits, producer_id=producer.id)])


@pytest.fixture
def kept(store):
    """60 vectors in three blocks, row 7 of which could not be measured."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, DIM)).astype(np.float32)
    vectors[7] = 0
    vectors[41] = vectors[12]
    producer = store.producer("vectors", "less", {"side": "source"}, dim=DIM)
    with store.claim("label", "x", {}) as run:
        for part in np.split(np.arange(60), [10, 45]):
            publish(store, run, producer, part, vectors[part], part != 7)
    return producer, vectors


@pytest.mark.parametrize("k", [1, 5, 59, 80])
def test_nearest_is_the_brute_force_order(store, kept, k):
    producer, vectors = kept
    query = np.random.default_rng(1).normal(size=DIM).astype(np.float32)
    sids, products = store.nearest(producer, query, k, BitMap(range(60)))
    exact = vectors.astype(np.float64) @ query
    order = [sid for sid in np.lexsort((np.arange(60), -exact)) if sid != 7][:k]
    assert sids.tolist() == order
    np.testing.assert_allclose(products, exact[order], rtol=1e-6)


def test_rows_outside_the_version_are_passed_over_not_subtracted(store, kept):
    producer, vectors = kept
    wanted = BitMap(range(30, 60))
    query = np.ones(DIM, np.float32)
    exact = vectors.astype(np.float64) @ query
    sids, _ = store.nearest(producer, query, 4, wanted)
    assert sids.tolist() == sorted(wanted, key=lambda sid: -exact[sid])[:4]


def test_equal_products_go_to_the_lower_sid(store, kept):
    producer, vectors = kept
    sids, _ = store.nearest(producer, vectors[12], 60, BitMap([12, 41, 7, 3]))
    assert sids.tolist().index(12) + 1 == sids.tolist().index(41)


def test_a_row_that_was_not_measured_is_never_an_answer(store, kept):
    producer, vectors = kept
    query = -np.abs(vectors).sum(axis=0)  # most products are negative; a zero vector would win
    sids, _ = store.nearest(producer, query, 60, BitMap(range(60)))
    assert 7 not in sids.tolist()
    assert len(sids) == 59
