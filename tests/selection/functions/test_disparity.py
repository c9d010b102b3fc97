from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from influence_store.selection.functions.disparity_min import DisparityMin
from influence_store.selection.functions.disparity_sum import DisparitySum
from influence_store.selection.k_center import k_center
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.views import ArrayView, CosineView


def unit(n, d, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def filled(function, budget):
    """Greedy that goes on although gains are negative."""
    state, items = function.empty(), []
    for _ in range(budget):
        left = np.setdiff1d(np.arange(function.n), items)
        items.append(int(left[np.argmax(function.gains(state, left))]))
        state = function.add(state, items[-1])
    return np.array(items)


def best_value(function, budget):
    return max(function.value(np.array(s)) for s in combinations(range(function.n), budget))


def distances(n, seed):
    """A kernel whose disparities are distances of points in a square, so triangles hold."""
    points = np.random.default_rng(seed).random((n, 2))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    return ArrayView(1.0 - apart / 2.0)


def test_greedy_disparity_min_reaches_half_of_the_best_set_of_a_metric():
    for seed in range(10):
        function = DisparityMin(distances(9, seed))
        for budget in (2, 3, 4, 5):
            reached = function.value(filled(function, budget))
            assert reached >= best_value(function, budget) / 2 - 1e-7


def test_greedy_disparity_min_reaches_a_quarter_of_the_best_cosine_disparity():
    for seed in range(10):
        vectors = unit(9, 3, seed)
        function = DisparityMin(CosineView(vectors, vectors))
        for budget in (2, 3, 4):
            assert function.value(filled(function, budget)) >= best_value(function, budget) / 4


def test_greedy_disparity_min_picks_what_the_k_center_selector_picks():
    vectors = unit(80, 8)
    ids = [bytes([i]) for i in range(80)]
    picks = k_center(19, vectors=vectors, ids=ids, seed=0, start=np.array([0]), metric="cosine")
    greedy = filled(DisparityMin(CosineView(vectors, vectors)), 20)
    np.testing.assert_array_equal(greedy[1:], picks.items)
    assert greedy[0] == 0


def test_greedy_disparity_sum_reaches_half_of_the_best_set_of_a_metric():
    for seed in range(10):
        function = DisparitySum(distances(9, seed))
        for budget in (2, 3, 4, 5):
            reached = function.value(NaiveGreedy().maximize(function, budget).items)
            assert reached >= best_value(function, budget) / 2 - 1e-7


def test_what_is_more_alike_than_the_same_is_no_distance_below_0():
    function = DisparitySum(ArrayView([[1.0, 1.25], [1.25, 1.0]]))
    assert function.value(np.array([0, 1])) == 0.0
    assert function.gains(function.add(function.empty(), 0), np.array([1])).tolist() == [0.0]


@pytest.mark.parametrize("make", [DisparitySum, DisparityMin])
def test_lazy_greedy_refuses_a_function_whose_gains_can_grow(make):
    with pytest.raises(ValueError, match="is not submodular; use NaiveGreedy"):
        LazyGreedy().maximize(make(ArrayView(np.eye(3))), 2)


@pytest.mark.parametrize("make", [DisparitySum, DisparityMin])
def test_a_kernel_of_other_targets_is_refused(make):
    with pytest.raises(ValueError, match="2 targets × 3 sources, expected a square kernel"):
        make(ArrayView(np.zeros((2, 3))))
