from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView

WORKED = ArrayView([[0.9, 0.1, 0.4], [0.2, 0.8, 0.5], [0.3, 0.6, 0.7]])


@pytest.mark.parametrize(
    ("items", "value"), [([0], 1.4), ([1], 1.5), ([2], 1.6), ([2, 0], 2.1), ([0, 1], 2.3)]
)
def test_worked_example(items, value):
    assert FacilityLocation(WORKED, 0.0).value(np.array(items)) == pytest.approx(value, abs=1e-6)


def test_greedy_takes_2_then_0_and_misses_the_optimum_0_1():
    function = FacilityLocation(WORKED, 0.0)
    chosen = LazyGreedy().maximize(function, 2)
    assert chosen.items.tolist() == [2, 0]
    assert chosen.gains == pytest.approx([1.6, 0.5], abs=1e-6)
    best = max(combinations(range(3), 2), key=lambda items: function.value(np.array(items)))
    assert best == (0, 1)


def test_rows_are_targets_and_columns_are_picked():
    # One source serves both targets; were the axes exchanged, there would be two sources.
    function = FacilityLocation(ArrayView([[1.0, 0.0, 0.9], [0.0, 1.0, 0.9]]), 0.0)
    assert function.n == 3
    assert LazyGreedy().maximize(function, 1).items.tolist() == [2]


def test_one_scale_and_any_offset_per_target_leave_the_picks_alone():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kernel = rng.normal(size=(12, 20))
        moved = ArrayView(3.0 * kernel + rng.normal(size=(12, 1)))
        plain = ArrayView(kernel)
        one = LazyGreedy().maximize(FacilityLocation(plain, lower_bound(plain)), 8)
        other = LazyGreedy().maximize(FacilityLocation(moved, lower_bound(moved)), 8)
        np.testing.assert_array_equal(other.items, one.items)
        np.testing.assert_allclose(other.gains[1:], 3.0 * one.gains[1:], rtol=1e-5)


def test_a_floor_above_the_smallest_value_is_not_blind_to_offsets():
    # Lowered by one, the first target falls below a floor of 0 and no longer counts.
    kernel = np.array([[0.9, 0.1], [0.0, 0.3]])
    lowered = kernel - [[1.0], [0.0]]
    pick = [
        LazyGreedy().maximize(FacilityLocation(ArrayView(k), 0.0), 1) for k in (kernel, lowered)
    ]
    assert [chosen.items.tolist() for chosen in pick] == [[0], [1]]


def test_negative_values_count_under_a_proper_floor():
    view = ArrayView([[-0.5, -0.2], [-0.1, -0.3]])
    function = FacilityLocation(view, lower_bound(view))
    assert function.floor == -0.5
    assert function.value(np.array([0])) == pytest.approx(0.4)
    assert function.value(np.array([1])) == pytest.approx(0.5)
    assert FacilityLocation(view, 0.0).value(np.array([0, 1])) == 0.0


def test_an_additive_kernel_is_blind_after_the_first_pick():
    rows, columns = np.arange(5) / 4, np.array([1, 7, 3, 6]) / 8
    view = ArrayView(rows[:, None] + columns[None, :])
    chosen = LazyGreedy().maximize(FacilityLocation(view, lower_bound(view)), 4)
    assert chosen.items.tolist() == [1, 0, 2, 3]
    assert (chosen.gains[1:] == 0).all()


def test_a_kernel_without_sources_is_refused():
    with pytest.raises(ValueError, match="3 targets × 0 sources has nothing to select from"):
        FacilityLocation(ArrayView(np.zeros((3, 0))), 0.0)


@pytest.mark.parametrize("floor", [float("nan"), float("-inf")])
def test_a_floor_that_is_no_number_is_refused(floor):
    with pytest.raises(ValueError, match=r"floor is .*; expected a finite number"):
        FacilityLocation(WORKED, floor)
