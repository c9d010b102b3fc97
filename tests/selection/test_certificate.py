"""The certificate: no allowed set is worth more than it says, and often it is sharp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from limited_sets import Penalised, best_allowed, random_limits

from influence_store.errors import UsageError
from influence_store.protocols import Chosen
from influence_store.selection.certificate import Certificate, certificate, certificate_of
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import KnapsackGreedy, LazyGreedy
from influence_store.selection.room import room_of
from influence_store.selection.views import ArrayView


def cases(**kinds):
    """(rng, function, limits) under which something may be picked."""
    for seed in range(80):
        rng = np.random.default_rng(seed)
        limits = random_limits(rng, 8, start=True, barred=True, **kinds)
        try:
            room_of(limits, 8)
        except UsageError:
            continue
        yield rng, FacilityLocation(ArrayView(rng.random((5, 8)) ** 3), 0.0), limits


def chosen_of(function, items):
    values = [function.value(np.array(items[:k], np.int64)) for k in range(len(items) + 1)]
    return Chosen(np.array(items, np.int64), np.diff(values), 0)


def test_no_allowed_set_is_worth_more_whatever_was_chosen():
    for rng, function, limits in cases():
        best = best_allowed(function, limits)
        anything = rng.permutation(8)[: rng.integers(0, 6)].tolist()
        for chosen in (LazyGreedy().maximize(function, limits), chosen_of(function, anything)):
            for looks in (1, 2, 5):
                found = certificate(function, chosen, limits, looks=looks)
                assert found.value == pytest.approx(function.value(chosen.items))
                assert found.upper >= best - 1e-9


def test_where_sources_do_not_overlap_the_bound_is_the_best_value():
    for rng, _, limits in cases(costs=False):
        function = FacilityLocation(ArrayView(np.diag(rng.random(8))), 0.0)
        best = best_allowed(function, limits)
        start = chosen_of(function, limits.start.tolist())
        assert certificate(function, start, limits).upper == pytest.approx(best)
        greedy = LazyGreedy().maximize(function, limits)
        assert certificate(function, greedy, limits, looks=2).ratio == pytest.approx(1.0)


def test_greedy_with_a_budget_is_certified_to_reach_what_is_proven():
    # f(OPT) − f(A_k) ≤ Σ top k gains, and each of those is at most the last gain of greedy.
    for seed in range(20):
        function = FacilityLocation(ArrayView(np.random.default_rng(seed).random((30, 60))), 0.0)
        assert certificate(function, LazyGreedy().maximize(function, 12), 12).ratio >= 0.5


def test_money_buys_at_most_what_fractions_would():
    costs = np.array([4.0, 3.0, 5.0, 100.0])
    function = FacilityLocation(ArrayView(np.diag([8.0, 3.0, 5.0, 900.0])), 0.0)
    limits = Limits(4, costs=costs, most=6.0)
    nothing = certificate(function, chosen_of(function, []), limits)
    # All of the first at 2 a piece, then 2 of the money for the next; the last is never affordable.
    assert nothing.upper == 8.0 + 2.0
    best = KnapsackGreedy().maximize(function, limits)
    assert certificate(function, best, limits, looks=2).ratio == 0.8


def test_a_seat_bound_below_the_money_bound_counts():
    function = FacilityLocation(ArrayView(np.diag([8.0, 3.0, 5.0])), 0.0)
    limits = Limits(1, costs=np.ones(3), most=3.0)
    assert certificate(function, chosen_of(function, []), limits).upper == 8.0


def test_what_is_told_is_rounded_down():
    assert Certificate(0.9999, 1.0).told() == "at least 99.9 % of the best possible"
    assert Certificate(2.0, 2.0).told() == "at least 100.0 % of the best possible"
    assert Certificate(0.0, 0.0).facts() == {"value": 0.0, "upper": 0.0, "ratio": 1.0}


def test_more_looks_never_raise_the_bound():
    for seed in range(20):
        function = FacilityLocation(ArrayView(np.random.default_rng(seed).random((30, 60))), 0.0)
        chosen = LazyGreedy().maximize(function, 8)
        uppers = [certificate(function, chosen, 8, looks=looks).upper for looks in (1, 2, 9)]
        assert uppers[0] >= uppers[1] >= uppers[2]


def test_gains_known_already_give_the_same_certificate():
    function = FacilityLocation(ArrayView(np.random.default_rng(0).random((9, 20))), 0.0)
    chosen = LazyGreedy().maximize(function, 6)
    state = function.empty()
    for item in chosen.items.tolist():
        state = function.add(state, item)
    gains = function.gains(state, np.arange(20))
    for looks in (1, 3):
        told = replace(chosen, left=gains)
        slow = certificate(function, chosen, 6, looks=looks)
        assert certificate(function, told, 6, looks=looks) == slow
    assert certificate_of(chosen.gains.sum(), gains, 6) == certificate(function, chosen, 6)


def test_functions_without_the_two_properties_are_refused():
    function = Penalised(FacilityLocation(ArrayView(np.eye(4)), 0.0), np.ones(4))
    with pytest.raises(ValueError, match="a certificate relies on gains ≥ 0"):
        certificate(function, chosen_of(function, [1]), 2)
