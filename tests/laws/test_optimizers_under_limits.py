"""What every optimizer owes under limits: nothing forbidden, nothing left out, the bound."""

from __future__ import annotations

import numpy as np
import pytest
from all_optimizers import clustered, every_optimizer, exact, same
from limited_sets import Penalised, allowed, best_allowed, random_limits

from influence_store.errors import UsageError
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import (
    LazierThanLazyGreedy,
    LazyGreedy,
    NaiveGreedy,
    PartitionedGreedy,
    StochasticGreedy,
)
from influence_store.selection.room import fits, room_of
from influence_store.selection.views import ArrayView, CosineView


def limited(seeds, **kinds):
    """(function, limits) for random facility locations and limits that can be kept."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        function = FacilityLocation(ArrayView(rng.integers(0, 9, (6, 9)) / 8), 0.0)
        limits = random_limits(rng, 9, barred=True, **kinds)
        try:
            room_of(limits, 9)
        except UsageError:
            continue
        yield function, limits


def test_random_limits_can_be_kept_often_enough():
    assert len(list(limited(range(100)))) > 50


@every_optimizer
def test_a_selection_is_allowed_and_nothing_more_would_fit(optimizer):
    for function, limits in limited(range(100), start=True):
        if isinstance(optimizer, PartitionedGreedy) and limits.costs is not None:
            limits = Limits(**{**vars(limits), "floors": None})
        items = optimizer.maximize(function, limits).items
        assert len(set(items.tolist())) == len(items)
        assert allowed(limits, function.n, items.tolist())
        np.testing.assert_array_equal(items[: len(limits.start)], limits.start)
        full = room_of(Limits(**{**vars(limits), "start": items}), function.n)
        assert not fits(full, np.arange(function.n)).any()


@every_optimizer
def test_gains_add_up_to_the_value_under_any_limits(optimizer):
    for function, limits in limited(range(100, 140), start=True, costs=False):
        chosen = optimizer.maximize(function, limits)
        assert chosen.gains.sum() == function.value(chosen.items)


@pytest.mark.parametrize("per_cost", [False, True], ids=["gain", "gain per cost"])
@pytest.mark.parametrize("priced", [False, True], ids=["monotone", "not monotone"])
def test_lazy_is_naive_bit_for_bit_under_any_limits(per_cost, priced):
    for seed, (function, limits) in enumerate(limited(range(80), start=True)):
        if priced:
            price = np.random.default_rng(seed).integers(0, 16, function.n) / 8
            function = Penalised(function, price)
        same(
            LazyGreedy(per_cost=per_cost).maximize(function, limits),
            NaiveGreedy(per_cost=per_cost).maximize(function, limits),
        )


@pytest.mark.parametrize("per_cost", [False, True], ids=["gain", "gain per cost"])
def test_compiled_greedy_is_lazy_bit_for_bit_under_any_limits(per_cost):
    for function, limits in limited(range(80), start=True):
        lazy = LazyGreedy(per_cost=per_cost).maximize(function, limits)
        same(FusedGreedy(per_cost=per_cost).maximize(function, limits), lazy)


@exact
def test_greedy_reaches_half_of_the_best_set_that_quotas_allow(optimizer):
    for function, limits in limited(range(30), costs=False, groups=True):
        reached = function.value(optimizer.maximize(function, limits).items)
        assert reached >= best_allowed(function, limits) / 2


@exact
def test_a_start_that_greedy_made_is_continued(optimizer):
    for function, limits in limited(range(30), costs=False):
        limits = Limits(**{**vars(limits), "floors": None})
        whole = optimizer.maximize(function, limits)
        for kept in range(len(whole.items) + 1):
            start = whole.items[:kept]
            same(optimizer.maximize(function, Limits(**{**vars(limits), "start": start})), whole)


@exact
def test_a_foreign_start_stays_and_the_rest_adds_to_it(optimizer):
    rng = np.random.default_rng(0)
    kernel = rng.random((9, 14), np.float32)
    function = FacilityLocation(ArrayView(kernel), 0.0)
    start = np.array([13, 2, 7])
    chosen = optimizer.maximize(function, Limits(8, start=start))
    covered = kernel[:, start].max(axis=1)
    left = FacilityLocation(ArrayView(np.maximum(kernel, covered[:, None]) - covered[:, None]), 0.0)
    rest = optimizer.maximize(left, Limits(5, barred=np.isin(np.arange(14), start)))
    np.testing.assert_array_equal(chosen.items, [*start, *rest.items])
    assert chosen.gains.sum() == pytest.approx(function.value(chosen.items))


@exact
def test_a_prefix_is_the_answer_for_a_smaller_budget_under_ceilings(optimizer):
    for function, limits in limited(range(40), costs=False, groups=True):
        limits = Limits(**{**vars(limits), "floors": None})
        longest = optimizer.maximize(function, limits)
        for budget in range(limits.budget):
            shorter = optimizer.maximize(function, Limits(**{**vars(limits), "budget": budget}))
            np.testing.assert_array_equal(shorter.items, longest.items[:budget])


@exact
def test_renumbering_renumbers_the_selection_under_limits(optimizer):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        kernel, order = rng.random((6, 9)), rng.permutation(9)
        limits = random_limits(rng, 9, start=True, barred=True, costs=False)
        try:
            chosen = optimizer.maximize(FacilityLocation(ArrayView(kernel), 0.0), limits)
        except UsageError:
            continue
        moved = Limits(
            **{
                **vars(limits),
                "groups": None if limits.groups is None else limits.groups[order],
                "barred": limits.barred[order],
                "start": np.argsort(order)[limits.start],
            }
        )
        again = optimizer.maximize(FacilityLocation(ArrayView(kernel[:, order]), 0.0), moved)
        gained = chosen.gains > 0
        np.testing.assert_array_equal(order[again.items][gained], chosen.items[gained])


@exact
def test_a_function_that_can_fall_is_left_before_it_does(optimizer):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        function = Penalised(
            FacilityLocation(ArrayView(rng.random((6, 9))), 0.0), rng.random(9) * 3
        )
        chosen = optimizer.maximize(function, 9)
        assert (chosen.gains >= 0).all()
        path = function.empty()
        for item in chosen.items.tolist():
            path = function.add(path, item)
        left = np.setdiff1d(np.arange(9), chosen.items)
        assert (function.gains(path, left) < 0).all()


@exact
def test_a_floor_is_met_even_where_f_falls(optimizer):
    function = Penalised(FacilityLocation(ArrayView(np.eye(4)), 0.0), np.array([0.5, 0.5, 2, 3]))
    limits = Limits(4, groups=np.array([0, 0, 1, 1]), floors=np.array([0, 1]))
    chosen = optimizer.maximize(function, limits)
    assert (chosen.items.tolist(), chosen.gains.tolist()) == ([0, 1, 2], [0.5, 0.5, -1.0])


def test_lazier_than_lazy_is_stochastic_greedy_under_any_limits_from_fewer_gains():
    for function, limits in limited(range(30), start=True):
        for eps in (0.3, 0.01):
            same(
                LazierThanLazyGreedy(seed=3, eps=eps).maximize(function, limits),
                StochasticGreedy(seed=3, eps=eps).maximize(function, limits),
            )
    vectors = clustered(300)
    function = FacilityLocation(CosineView(vectors, vectors), -1.0)
    lazier = LazierThanLazyGreedy(seed=1).maximize(function, 60)
    every = StochasticGreedy(seed=1).maximize(function, 60)
    same(lazier, every)
    assert lazier.evaluations < 0.6 * every.evaluations


@pytest.mark.parametrize("optimizer", [StochasticGreedy(0), LazierThanLazyGreedy(0)])
def test_random_parts_need_gains_that_are_not_negative(optimizer):
    function = Penalised(FacilityLocation(ArrayView(np.eye(3)), 0.0), np.ones(3))
    with pytest.raises(ValueError, match="Penalised is not monotone; use LazyGreedy"):
        optimizer.maximize(function, 2)
