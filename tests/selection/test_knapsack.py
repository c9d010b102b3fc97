"""Selections that cost money: the better of two orders, and what either alone would lose."""

from __future__ import annotations

import numpy as np
import pytest
from limited_sets import allowed, best_allowed, random_limits

from influence_store.errors import UsageError
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import KnapsackGreedy, LazyGreedy, NaiveGreedy
from influence_store.selection.views import ArrayView


def modular(worth):
    """Σ worth: every source has a target of its own."""
    return FacilityLocation(ArrayView(np.diag(worth)), 0.0)


def test_the_best_allowed_set_is_never_more_than_the_proven_factor_away():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        kernel = rng.random((5, 9)) ** 4
        function = (
            FacilityLocation(ArrayView(kernel), 0.0) if seed % 2 else FLQMI(ArrayView(kernel))
        )
        limits = Limits(9, costs=rng.integers(1, 30, 9).astype(float), most=30.0)
        chosen = KnapsackGreedy().maximize(function, limits)
        assert allowed(limits, 9, chosen.items.tolist())
        assert function.value(chosen.items) >= 0.405 * best_allowed(function, limits) - 1e-9


def test_gain_per_cost_alone_can_miss_nearly_everything():
    # A crumb for 1 has the better ratio, and then the 99 left cannot pay for the treasure.
    function, limits = modular([2.0, 100.0]), Limits(2, costs=np.array([1.0, 100.0]), most=100.0)
    alone = LazyGreedy(per_cost=True).maximize(function, limits)
    both = KnapsackGreedy().maximize(function, limits)
    assert (alone.items.tolist(), both.items.tolist()) == ([0], [1])


def test_gain_alone_can_miss_nearly_everything():
    worth, costs = np.full(51, 10.0), np.full(51, 1.0)
    worth[50], costs[50] = 11.0, 50.0
    limits = Limits(51, costs=costs, most=50.0)
    alone = LazyGreedy().maximize(modular(worth), limits)
    both = KnapsackGreedy().maximize(modular(worth), limits)
    assert (alone.items.tolist(), both.items.tolist()) == ([50], list(range(50)))


def test_the_answer_is_the_better_order_and_never_below_the_best_single_source():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        function = FacilityLocation(ArrayView(rng.random((6, 12))), 0.0)
        limits = random_limits(rng, 12, costs=True, groups=False)
        if limits.costs.min() > limits.most:
            continue
        chosen = KnapsackGreedy().maximize(function, limits)
        orders = [NaiveGreedy(per_cost=one).maximize(function, limits) for one in (False, True)]
        np.testing.assert_array_equal(
            KnapsackGreedy(NaiveGreedy).maximize(function, limits).items, chosen.items
        )
        assert chosen.gains.sum() == max(one.gains.sum() for one in orders)
        affordable = np.flatnonzero(limits.costs <= limits.most)
        singles = [function.value(np.array([j])) for j in affordable]
        assert function.value(chosen.items) >= max(singles) - 1e-12


def test_equal_costs_are_a_budget():
    function = FacilityLocation(ArrayView(np.random.default_rng(0).random((8, 20))), 0.0)
    paid = KnapsackGreedy().maximize(function, Limits(20, costs=np.full(20, 3.0), most=23.0))
    np.testing.assert_array_equal(paid.items, LazyGreedy().maximize(function, 7).items)


def test_ties_per_cost_go_to_the_lowest_position():
    limits = Limits(4, costs=np.array([4.0, 2.0, 1.0, 2.0]), most=5.0)
    chosen = LazyGreedy(per_cost=True).maximize(modular([8.0, 4.0, 2.0, 4.0]), limits)
    assert chosen.items.tolist() == [0, 2]


def test_quotas_hold_where_money_is_short():
    rng = np.random.default_rng(1)
    function = FacilityLocation(ArrayView(rng.random((8, 12))), 0.0)
    limits = Limits(
        12,
        costs=rng.integers(1, 9, 12).astype(float),
        most=20.0,
        groups=np.arange(12) % 3,
        floors=np.array([0, 2, 1]),
        ceilings=np.array([1, 4, 4]),
    )
    assert allowed(limits, 12, KnapsackGreedy().maximize(function, limits).items.tolist())


def test_counted_samples_are_sent_elsewhere():
    with pytest.raises(UsageError, match=r"found no costs(.|\n)*use LazyGreedy"):
        KnapsackGreedy().maximize(modular([1.0]), 1)
