"""One pass over the sources: the bound, the memory, and batches that change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from limited_sets import Penalised, best_allowed

from influence_store.errors import UsageError
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import SieveStreaming
from influence_store.selection.views import ArrayView


def textbook(function, budget, eps):
    """Algorithm 3 of Badanidiyuru et al. 2014, one source and one sieve at a time."""
    best_single, sieves = 0.0, {}
    for source in range(function.n):
        alone = np.array([source])
        best_single = max(best_single, function.value(alone))
        guesses = [
            i for i in range(-60, 120) if best_single <= (1 + eps) ** i <= 2 * budget * best_single
        ]
        sieves = {i: sieves.get(i, []) for i in guesses}
        for i, kept in sieves.items():
            value = function.value(np.array(kept, np.int64))
            gain = function.value(np.array([*kept, source])) - value
            left = budget - len(kept)
            if left and gain >= ((1 + eps) ** i / 2 - value) / left:
                kept.append(source)
    return max(sieves.values(), key=lambda kept: function.value(np.array(kept, np.int64)))


@pytest.mark.parametrize("eps", [0.05, 0.3])
def test_picks_are_those_of_the_published_algorithm(eps):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        function = FacilityLocation(ArrayView(rng.integers(0, 64, (6, 25)) / 64), 0.0)
        chosen = SieveStreaming(eps).maximize(function, 5)
        assert chosen.items.tolist() == textbook(function, 5, eps)


@pytest.mark.parametrize("eps", [0.05, 0.3])
def test_half_of_the_best_set_is_reached(eps):
    for seed in range(16):
        rng = np.random.default_rng(seed)
        kernel = rng.random((5, 9)) ** rng.integers(1, 6)
        function = (
            FacilityLocation(ArrayView(kernel), 0.0) if seed % 2 else FLQMI(ArrayView(kernel))
        )
        for budget in (1, 3):
            reached = function.value(SieveStreaming(eps).maximize(function, budget).items)
            assert reached >= (0.5 - eps) * best_allowed(function, Limits(budget))


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_batches_change_no_pick(batch):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        function = FacilityLocation(ArrayView(rng.random((10, 60))), 0.0)
        one, other = (SieveStreaming(0.2, size).maximize(function, 8) for size in (batch, 256))
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.gains, other.gains)


def test_each_source_meets_a_sieve_once_at_most():
    function = FacilityLocation(ArrayView(np.random.default_rng(0).random((20, 150))), 0.0)
    eps, budget = 0.1, 20
    chosen = SieveStreaming(eps, batch=1).maximize(function, budget)
    sieves = np.log(2 * budget) / np.log1p(eps) + 1
    assert chosen.evaluations <= 150 * (1 + sieves)


def test_gains_add_up_to_the_value_and_the_budget_is_kept():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        function = FacilityLocation(ArrayView(rng.integers(0, 8, (10, 60)) / 8), 0.0)
        chosen = SieveStreaming().maximize(function, 6)
        assert 0 < len(chosen.items) <= 6
        assert chosen.gains.sum() == function.value(chosen.items)
        assert (np.diff(chosen.items) > 0).all()


def test_a_start_stays_and_barred_sources_stay_out():
    rng = np.random.default_rng(0)
    function = FacilityLocation(ArrayView(rng.random((10, 40))), 0.0)
    barred = rng.random(40) < 0.5
    start = np.flatnonzero(~barred)[[5, 2]]
    chosen = SieveStreaming().maximize(function, Limits(6, start=start, barred=barred))
    np.testing.assert_array_equal(chosen.items[:2], start)
    assert 2 < len(chosen.items) <= 6
    assert not barred[chosen.items].any()
    assert len(np.unique(chosen.items)) == len(chosen.items)


def test_a_kernel_without_gain_picks_nothing():
    function = FacilityLocation(ArrayView(np.zeros((3, 4))), 0.0)
    assert len(SieveStreaming().maximize(function, 2).items) == 0


@pytest.mark.parametrize(
    "limits",
    [
        Limits(2, costs=np.ones(4), most=3.0),
        Limits(2, groups=np.zeros(4, np.int64), ceilings=np.array([1])),
    ],
    ids=["costs", "groups"],
)
def test_other_limits_are_refused(limits):
    function = FacilityLocation(ArrayView(np.eye(4)), 0.0)
    with pytest.raises(UsageError, match="keeps a budget, and no costs, floors or ceilings"):
        SieveStreaming().maximize(function, limits)


def test_a_function_that_can_fall_is_refused():
    function = Penalised(FacilityLocation(ArrayView(np.eye(4)), 0.0), np.ones(4))
    with pytest.raises(ValueError, match="not monotone"):
        SieveStreaming().maximize(function, 2)


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"eps": 0.5}, {"batch": 0}])
def test_an_eps_or_batch_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="expected eps between 0 and"):
        SieveStreaming(**wrong)
