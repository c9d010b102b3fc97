"""Pairs of vectors by cosine: all of them, whatever tile they fall into."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.overlap import twins
from influence_store.overlap.twins import twins_between, twins_within

N, THRESHOLD = 90, 0.9


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(5)
    base = rng.normal(size=(9, 16))
    made = np.repeat(base, 10, axis=0) + 0.35 * rng.normal(size=(N, 16))
    made *= rng.uniform(0.2, 5, (N, 1))
    made[17] = 0
    return made.astype(np.float32)


def brute(rows, others):
    found = {}
    for i, x in enumerate(rows.astype(np.float64)):
        for j, y in enumerate(others.astype(np.float64)):
            norm = np.linalg.norm(x) * np.linalg.norm(y)
            if norm > 0 and x @ y / norm >= THRESHOLD:
                found[i, j] = x @ y / norm
    return found


def as_dict(pairs):
    return dict(
        zip(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True), pairs.similarity, strict=True)
    )


def test_pairs_between_two_sets_are_those_of_brute_force(vectors):
    found = as_dict(twins_between(vectors[:30], vectors, THRESHOLD, limit=N * N))
    expected = brute(vectors[:30], vectors)
    assert list(found) == sorted(expected)
    assert found == pytest.approx(expected)
    assert 60 < len(found) < 400


def test_the_size_of_a_tile_changes_no_bit(vectors, monkeypatch):
    whole = as_dict(twins_within(vectors, THRESHOLD, 0, N, limit=N * N))
    monkeypatch.setattr(twins, "TILE_ROWS", 7)
    assert as_dict(twins_within(vectors, THRESHOLD, 0, N, limit=N * N)) == whole


def test_a_pair_exactly_at_the_threshold_counts_in_every_tile(monkeypatch):
    vectors = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    pairs = twins_within(vectors, 0.01, 0, 40, limit=10**4)
    for k in (0, len(pairs) // 2, len(pairs) - 1):
        for tile in (3, 2048):
            monkeypatch.setattr(twins, "TILE_ROWS", tile)
            again = as_dict(twins_within(vectors, pairs.similarity[k], 0, 40, limit=10**4))
            assert (pairs.a[k], pairs.b[k]) in again


def test_consecutive_ranges_yield_every_pair_once_the_lower_second(vectors):
    whole = as_dict(twins_within(vectors, THRESHOLD, 0, N, limit=N * N))
    parts = {}
    for start, stop in [(0, 1), (1, 40), (40, N)]:
        parts.update(as_dict(twins_within(vectors, THRESHOLD, start, stop, limit=N * N)))
    assert parts == whole
    assert all(b < a for a, b in whole)
    expected = brute(vectors, vectors)
    assert set(whole) == {(a, b) for a, b in expected if b < a}


def test_a_zero_vector_has_no_twin(vectors):
    pairs = twins_between(vectors[17:18], vectors, -1.0, limit=N * N)
    assert (pairs.similarity == 0).all()
    assert len(twins_between(vectors[17:18], vectors, THRESHOLD, limit=N)) == 0


def test_more_pairs_than_the_limit_are_refused():
    with pytest.raises(UsageError, match="look alike"):
        twins_within(np.ones((50, 4), np.float32), 0.9, 0, 50, limit=100)
