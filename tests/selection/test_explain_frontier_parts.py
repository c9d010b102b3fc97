"""Budget curves and Pareto masks against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.selection.frontier import milestones
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.functions.mixture import Mixture
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.tradeoff import pareto, tradeoff
from influence_store.selection.views import ArrayView

POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(POINTS)
def test_the_frontier_is_what_no_other_point_dominates(points):
    def dominates(p, q):
        return p[0] >= q[0] and p[1] >= q[1] and p != q

    expected = [not any(dominates(p, q) for p in points) for q in points]
    assert pareto(np.array(points, float)).tolist() == expected


@given(st.integers(1, 60), st.integers(1, 12))
def test_milestones_are_prefix_sums_that_end_with_the_whole(n, n_points):
    rng = np.random.default_rng(n)
    gains, costs = np.sort(rng.random(n))[::-1], rng.integers(1, 9, n).astype(float)
    told = milestones(gains, costs, n_points)
    assert len(told) == min(n, n_points)
    assert told[-1].n == n
    assert told[-1].share == 1.0
    for one in told:
        assert np.isclose(one.value, gains[: one.n].sum())
        assert one.cost == costs[: one.n].sum()
        assert np.isclose(one.share, one.value / gains.sum())
    steps = np.diff([0, *[one.n for one in told]])
    assert steps.max() - steps.min() <= 1


def test_a_selection_that_gains_nothing_has_no_shares():
    assert np.isnan(milestones(np.zeros(3), np.ones(3))[-1].share)
    assert milestones(np.zeros(0), np.zeros(0)) == ()


def two_targets(seed):
    rng = np.random.default_rng(seed)
    # The second speaks in numbers a hundred times as large.
    kernels = [scale * rng.random((m, 15)).astype(np.float32) for m, scale in ((6, 1), (9, 100))]
    return tuple(FLQMI(ArrayView(kernel)) for kernel in kernels)


def test_each_point_is_the_greedy_answer_to_its_mixture():
    functions = two_targets(0)
    found = tradeoff(functions, 4, LazyGreedy(), seed=1, steps=5)
    for weight, items, values in zip(found.weights, found.items, found.values, strict=True):
        parts = (weight / found.units[0], (1 - weight) / found.units[1])
        assert items.tolist() == NaiveGreedy().maximize(Mixture(functions, parts), 4).items.tolist()
        assert values.tolist() == [one.value(items) for one in functions]


def test_the_ends_are_all_for_one_target_and_shares_are_measured_between_chance_and_them():
    functions = two_targets(3)
    found = tradeoff(functions, 4, LazyGreedy(), seed=1, steps=5, draws=7)
    assert found.shares[-1, 0] == 1
    assert found.shares[0, 1] == 1
    rng = np.random.default_rng(1)
    sets = [rng.choice(15, 4, replace=False) for _ in range(7)]
    for t, end in ((0, -1), (1, 0)):
        chance = np.mean([functions[t].value(one) for one in sets])
        whole = functions[t].value(found.items[end]) - chance
        assert np.allclose(found.shares[:, t], (found.values[:, t] - chance) / whole)
    assert found.efficient.tolist() == pareto(found.values).tolist()


def test_where_chance_is_as_good_there_is_no_share_and_one_step_is_no_frontier():
    flat = FLQMI(ArrayView(np.ones((3, 6), np.float32)))
    found = tradeoff((flat, flat), 2, LazyGreedy(), seed=0)
    assert np.isnan(found.shares).all()
    with pytest.raises(ValueError, match="at least 2"):
        tradeoff((flat, flat), 2, LazyGreedy(), seed=0, steps=1)
