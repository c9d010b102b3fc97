"""Candidates of the banding: no like pair is missed, and the order of arrival cannot matter."""

from __future__ import annotations

import random

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.overlap.jaccard import jaccard
from influence_store.overlap.minhash import BandIndex, band_keys
from influence_store.overlap.words import packed

N = 120


@pytest.fixture(scope="module")
def sets():
    """Families of sets that overlap by all degrees, one empty set, one twice."""
    rng = random.Random(3)
    made = [np.zeros(0, np.uint64)]
    while len(made) < N - 1:
        base = [rng.getrandbits(64) for _ in range(40)]
        for share in (0.02, 0.1, 0.3, 0.6):
            kept = [rng.getrandbits(64) if rng.random() < share else one for one in base]
            made.append(np.unique(np.array(kept, np.uint64)))
    return [*made[: N - 1], made[1]]


@pytest.fixture(scope="module")
def keys(sets):
    return band_keys(sets, 128, 4, 1)


def brute_jaccard(a, b):
    a, b = set(a.tolist()), set(b.tolist())
    return len(a & b) / len(a | b) if a | b else 0.0


def test_jaccard_of_every_pair_is_that_of_python_sets(sets):
    left, right = np.triu_indices(N, 1)
    expected = [brute_jaccard(sets[i], sets[j]) for i, j in zip(left, right, strict=True)]
    assert jaccard(*packed(sets), left, right).tolist() == expected
    assert sum(0.8 <= one < 1 for one in expected) > 10


def test_every_pair_with_jaccard_from_point_eight_is_a_candidate(sets, keys):
    a, b = BandIndex(keys).candidates(0, N, limit=N * N)
    found = set(zip(a.tolist(), b.tolist(), strict=True))
    alike = {(i, j) for i in range(N) for j in range(i) if brute_jaccard(sets[i], sets[j]) >= 0.8}
    assert alike <= found
    assert (N - 1, 1) in alike
    assert len(found) < N * N / 20
    assert (b < a).all()


def test_consecutive_ranges_yield_every_candidate_once(keys):
    index = BandIndex(keys)
    whole = list(zip(*index.candidates(0, N, limit=N * N), strict=True))
    ranges = [(0, 7), (7, 8), (8, 90), (90, N)]
    parts = [
        pair for one in ranges for pair in zip(*index.candidates(*one, limit=N * N), strict=True)
    ]
    assert parts == whole == sorted(set(whole))


def test_a_pair_is_a_candidate_in_whatever_order_the_sets_stand(keys):
    order = np.random.default_rng(0).permutation(N)
    plain = {
        frozenset(pair) for pair in zip(*BandIndex(keys).candidates(0, N, limit=N * N), strict=True)
    }
    a, b = BandIndex(keys[order]).candidates(0, N, limit=N * N)
    assert {frozenset(pair) for pair in zip(order[a], order[b], strict=True)} == plain


def test_empty_sets_are_nobodys_candidates():
    sets = [np.zeros(0, np.uint64)] * 3
    a, _ = BandIndex(band_keys(sets, 16, 4, 1)).candidates(0, 3, limit=9)
    assert len(a) == 0
    assert len(BandIndex(band_keys([], 16, 4, 1)).candidates(0, 0, limit=1)[0]) == 0


def test_a_pool_of_one_text_is_refused_before_it_fills_the_memory():
    keys = band_keys([np.arange(5, dtype=np.uint64) << np.uint64(32)] * 100, 16, 4, 1)
    with pytest.raises(UsageError, match="look alike"):
        BandIndex(keys).candidates(0, 100, limit=500)


def test_permutations_must_be_whole_bands():
    with pytest.raises(ValueError, match="whole number"):
        band_keys([], 10, 4, 1)
