"""Greedy in parts: its bound, the cases where it is exact, the limits it keeps."""

from __future__ import annotations

import numpy as np
import pytest
from limited_sets import best_allowed

from influence_store.errors import UsageError
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy, PartitionedGreedy
from influence_store.selection.views import ArrayView


def same(one, other):
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.gains, other.gains)


def test_one_part_is_greedy():
    function = FacilityLocation(ArrayView(np.random.default_rng(0).random((9, 30))), 0.0)
    parted = PartitionedGreedy(seed=5, parts=1)
    same(parted.maximize(function, 12), LazyGreedy().maximize(function, 12))


def test_sources_that_share_no_target_are_picked_as_greedy_picks_them():
    worth = np.random.default_rng(0).permutation(40) + 1.0
    function = FacilityLocation(ArrayView(np.diag(worth)), 0.0)
    parted = PartitionedGreedy(seed=1, parts=4).maximize(function, 15)
    same(parted, LazyGreedy().maximize(function, 15))


def test_the_bound_is_kept_on_average():
    for case in range(8):
        rng = np.random.default_rng(case)
        function = FacilityLocation(ArrayView(rng.random((4, 9)) ** 4), 0.0)
        reached = [
            function.value(PartitionedGreedy(seed, parts=3).maximize(function, 3).items)
            for seed in range(10)
        ]
        bound = (1 - 1 / np.e) / 2 * best_allowed(function, Limits(3))
        assert np.mean(reached) >= bound


def test_a_part_that_did_better_alone_wins():
    # Of ten targets two sources cover five each; the third covers three of either.
    covers = np.zeros((10, 4))
    together, apart = np.array_split(np.random.default_rng(7).permutation(4), 2)
    covers[:5, together[0]] = covers[5:, together[1]] = covers[2:8, apart[0]] = 1.0
    function = FacilityLocation(ArrayView(covers), 0.0)
    assert LazyGreedy().maximize(function, 2).gains.sum() == 8
    chosen = PartitionedGreedy(seed=7, parts=2).maximize(function, 2)
    assert set(chosen.items.tolist()) == set(together.tolist())


def test_more_parts_than_sources_do_no_harm():
    function = FacilityLocation(ArrayView(np.eye(3)), 0.0)
    chosen = PartitionedGreedy(seed=0, parts=8).maximize(function, 3)
    assert sorted(chosen.items.tolist()) == [0, 1, 2]


def test_the_optimizer_of_the_parts_can_be_chosen():
    function = FacilityLocation(ArrayView(np.random.default_rng(3).random((9, 24))), 0.0)
    lazy = PartitionedGreedy(seed=2, parts=3).maximize(function, 6)
    naive = PartitionedGreedy(seed=2, parts=3, greedy=NaiveGreedy()).maximize(function, 6)
    same(lazy, naive)
    assert naive.evaluations > lazy.evaluations


def test_the_split_follows_the_seed():
    function = FacilityLocation(ArrayView(np.random.default_rng(4).random((30, 60))), 0.0)
    answers = [PartitionedGreedy(seed, parts=6).maximize(function, 9) for seed in (1, 1, 2)]
    same(answers[0], answers[1])
    assert answers[0].items.tolist() != answers[2].items.tolist()


def test_floors_are_met_though_no_part_could():
    groups = np.array([0] * 9 + [1] * 3)
    function = FacilityLocation(ArrayView(np.diag(np.arange(12.0, 0.0, -1.0))), 0.0)
    limits = Limits(5, groups=groups, floors=np.array([0, 3]))
    chosen = PartitionedGreedy(seed=0, parts=4).maximize(function, limits)
    same(chosen, LazyGreedy().maximize(function, limits))
    assert (groups[chosen.items] == 1).sum() == 3


def test_floors_with_costs_are_refused():
    function = FacilityLocation(ArrayView(np.eye(3)), 0.0)
    limits = Limits(
        3, costs=np.ones(3), most=2.0, groups=np.zeros(3, np.int64), floors=np.array([1])
    )
    with pytest.raises(UsageError, match="floors and a cost limit together"):
        PartitionedGreedy(seed=0).maximize(function, limits)


def test_a_part_with_nothing_affordable_does_no_harm():
    # Every source of some part costs more than there is.
    function = FacilityLocation(ArrayView(np.eye(6)), 0.0)
    limits = Limits(6, costs=np.array([1.0, 9.0, 9.0, 9.0, 9.0, 9.0]), most=5.0)
    assert PartitionedGreedy(seed=0, parts=6).maximize(function, limits).items.tolist() == [0]


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="found 0 parts; expected 1 or more"):
        PartitionedGreedy(seed=0, parts=0)
