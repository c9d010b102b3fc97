"""The parts of an explanation against brute force on small random kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.selection.explain import (
    NOBODY,
    cover,
    expected_rank,
    gains_at_end,
    largest,
    lost_without,
    rivals,
    ruled_out,
    within,
)
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.limits import Limits
from influence_store.selection.views import ArrayView


def kernel(seed: int, *, ties: bool = True, m: int = 7, n: int = 9):
    """Eighths, so that sums are exact and many values are equal."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 6, (m, n)) / 8 if ties else rng.random((m, n))).astype(np.float32)


def picks_of(seed: int, n: int, size: int):
    return np.random.default_rng(seed + 1).permutation(n)[:size]


@given(st.integers(0, 10_000), st.integers(0, 9), st.sampled_from([1, 56, 1 << 20]))
def test_the_two_best_picks_of_every_target_with_ties_to_the_earlier(seed, size, tile_bytes):
    S, items = kernel(seed), picks_of(seed, 9, size)
    found = cover(ArrayView(S), items, tile_bytes)
    for i, row in enumerate(S):
        ranked = sorted(range(size), key=lambda k: (-row[items[k]], k))
        expected = [items[k] for k in ranked[:2]] + [NOBODY] * (2 - len(ranked[:2]))
        assert [found.best[i], found.second[i]] == expected
        values = [row[j] if j != NOBODY else -np.inf for j in expected]
        assert [found.value[i], found.second_value[i]] == values


def test_what_is_lost_without_a_pick_is_the_difference_of_the_set_functions_values():
    for seed in range(20):
        S, P, items = kernel(seed), kernel(seed + 100, n=2), picks_of(seed, 9, 4)
        level = P.max(axis=1).astype(np.float64)
        conditional = FLCG(ArrayView(S), ArrayView(P))
        n_served, lost = lost_without(cover(ArrayView(S), items), items, level)
        for k in range(4):
            without = conditional.value(np.delete(items, k))
            assert lost[k] == conditional.value(items) - without
        best = np.array([max(items, key=lambda j: (row[j], -list(items).index(j))) for row in S])
        served = S[np.arange(7), best] > level
        assert n_served.tolist() == [int((best[served] == j).sum()) for j in items]


def test_what_a_source_would_add_is_the_set_functions_gain():
    for seed in range(20):
        S, Q, items = kernel(seed), kernel(seed + 100, n=2), picks_of(seed, 9, 4)
        capped = FL1MI(ArrayView(S), ArrayView(Q))
        cap, level = Q.max(axis=1).astype(np.float64), np.zeros(7)
        others = np.setdiff1d(np.arange(9), items)
        raised, gains = gains_at_end(S[:, others].T, cover(ArrayView(S), items), level, cap)
        for n_raised, gain, j in zip(raised, gains, others, strict=True):
            assert gain == capped.value(np.append(items, j)) - capped.value(items)
            assert (n_raised > 0) == (gain > 0)


def test_a_cap_below_the_level_leaves_the_level():
    level, cap = np.array([0.5, 0.0]), np.array([0.25, 1.0])
    assert within(np.array([0.75, 2.0]), level, cap).tolist() == [0.5, 1.0]


def test_what_is_better_by_rounding_only_is_not_better():
    S = np.array([[0.5, 0.5001, 0.75]], np.float32)
    found = cover(ArrayView(S), np.array([0]))
    raised, gains = gains_at_end(S.T, found, np.zeros(1), tolerance=0.01)
    assert raised.tolist() == [0, 0, 1]
    assert gains.tolist() == [0, 0, 0.25]


def test_limits_say_what_keeps_a_source_out():
    limits = Limits(
        budget=3,
        costs=np.array([5.0, 5.0, 1.0, 3.0, 2.0]),
        most=12.0,
        groups=np.array([0, 0, 1, 1, 0]),
        ceilings=np.array([2, 2]),
        barred=np.array([False, False, True, False, False]),
        names=("web", "books"),
    )
    items = np.array([0, 1])
    kinds = {j: [kind for kind, _ in ruled_out(limits, items, j)] for j in (2, 3, 4)}
    assert kinds == {2: ["barred"], 3: ["cost"], 4: ["quota"]}
    assert "'web' has 2 of at most 2" in ruled_out(limits, items, 4)[0][1]
    assert ruled_out(Limits(2), items, 4) == []


def test_rivals_hold_the_ground_of_a_source_and_lead_by_the_mean_difference():
    S = kernel(3, ties=False, m=30, n=6)
    items, x, ground = np.array([4, 0, 2]), 5, 10
    found = cover(ArrayView(S), items)
    told = rivals(S[:, x], found, ground)
    own = sorted(range(30), key=lambda i: -S[i, x])[:ground]
    holder = {i: items[np.argmax(S[i, items])] for i in own}
    assert {one.source: one.n_targets for one in told} == {
        j: list(holder.values()).count(j) for j in set(holder.values())
    }
    for one in told:
        mine = [i for i in own if holder[i] == one.source]
        assert one.lead == pytest.approx(np.mean(S[mine, one.source] - S[mine, x]), abs=1e-6)
    assert [one.n_targets for one in told] == sorted((o.n_targets for o in told), reverse=True)


def test_the_largest_products_are_those_of_brute_force_and_only_allowed_ones():
    rng = np.random.default_rng(5)
    vectors = rng.integers(-2, 3, (40, 4)).astype(np.float32)
    asked, allowed = vectors[[3, 17]], rng.random((2, 40)) < 0.5
    places, products = largest(asked @ vectors.T, allowed, 6)
    for q in range(2):
        order = sorted(np.flatnonzero(allowed[q]), key=lambda r: (-(vectors[r] @ asked[q]), r))
        assert places[q].tolist() == order[:6]
        assert products[q].tolist() == [vectors[r] @ asked[q] for r in order[:6]]


def test_where_fewer_rows_are_allowed_than_asked_for_nobody_stands():
    vectors = np.eye(3, dtype=np.float32)
    allowed = np.array([[False, True, False]])
    places, products = largest(vectors[:1] @ vectors.T, allowed, 5)
    assert places.tolist() == [[1, NOBODY, NOBODY]]
    assert products[0, 1] == -np.inf


def test_a_power_law_of_gains_is_continued_exactly():
    gains = 100.0 / np.arange(1, 201)
    assert expected_rank(gains, 100.0 / 1000.5) == 1000
    assert expected_rank(gains, 100.0 / 50.5) == 51
    assert expected_rank(gains, 0.0) is None


def test_gains_that_do_not_fall_promise_the_next_rank_only():
    assert expected_rank(np.ones(10), 0.5) == 11
    assert expected_rank(np.array([1.0, 0.0, 0.0, 0.0]), 0.5) == 2
