from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from influence_store.selection.functions.log_determinant import LogDeterminant
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, CosineView


def unit(n, d, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_gains_of_a_long_path_add_up_to_the_determinant():
    vectors = unit(300, 16)  # more picks than dimensions: only ε is left at the end
    function = LogDeterminant(CosineView(vectors, vectors), regularisation=0.01)
    state, total = function.empty(), 0.0
    for item in range(100):
        total += function.gains(state, np.array([item]))[0]
        state = function.add(state, item)
    assert total == pytest.approx(function.value(np.arange(100)), rel=1e-4)


def test_it_is_never_lowered_from_an_epsilon_of_1_on():
    assert LogDeterminant(ArrayView(np.eye(3)), regularisation=1.0).monotone
    assert not LogDeterminant(ArrayView(np.eye(3)), regularisation=0.99).monotone


def test_lazy_greedy_is_naive_greedy_bit_for_bit():
    vectors = np.concatenate([unit(60, 8), unit(20, 8)])  # the last 20 are twins of the first
    for epsilon in (0.001, 1.0):
        function = LogDeterminant(CosineView(vectors, vectors), regularisation=epsilon)
        lazy, naive = (one().maximize(function, 30) for one in (LazyGreedy, NaiveGreedy))
        np.testing.assert_array_equal(lazy.items, naive.items)
        np.testing.assert_array_equal(lazy.gains, naive.gains)


def test_a_twin_of_a_chosen_source_is_picked_last():
    vectors = unit(6, 16)
    vectors[5] = vectors[2]
    chosen = LazyGreedy().maximize(LogDeterminant(CosineView(vectors, vectors)), 6)
    assert chosen.items[-1] in (2, 5)


def test_greedy_reaches_1_minus_1_over_e_of_the_best_set():
    for seed in range(5):
        vectors = unit(10, 4, seed)
        function = LogDeterminant(CosineView(vectors, vectors))
        for budget in (2, 3, 4):
            reached = function.value(LazyGreedy().maximize(function, budget).items)
            best = max(function.value(np.array(s)) for s in combinations(range(10), budget))
            assert reached >= (1 - 1 / np.e) * best


def test_the_mutual_information_of_two_sets_is_not_negative():
    # f(A) + f(B) − f(A ∪ B) ≥ 0 for disjoint sets: f is submodular with f(∅) = 0.
    vectors = unit(8, 4)
    function = LogDeterminant(CosineView(vectors, vectors), regularisation=0.1)
    for a in combinations(range(4), 2):
        for b in combinations(range(4, 8), 2):
            union = function.value(np.array(a + b))
            assert function.value(np.array(a)) + function.value(np.array(b)) >= union


def test_a_kernel_that_is_not_semidefinite_is_refused_where_it_shows():
    with pytest.raises(ValueError, match=r"positive semidefinite.*left of source 1 is -0\.5"):
        LogDeterminant(ArrayView([[1.0, 0.0], [0.0, -0.5]]))
    function = LogDeterminant(ArrayView([[1.0, 3.0], [3.0, 1.0]]))
    with pytest.raises(ValueError, match=r"positive semidefinite.*left of source 1"):
        function.add(function.empty(), 0)
    with pytest.raises(ValueError, match=r"positive semidefinite.*determinant"):
        function.value(np.array([0, 1]))


def test_what_rounding_made_slightly_negative_counts_as_nothing_left():
    function = LogDeterminant(ArrayView([[1.0, 0.0], [0.0, -5e-4]]), regularisation=1e-4)
    assert function.gains(function.empty(), np.array([1]))[0] == np.log(1e-4)


@pytest.mark.parametrize("epsilon", [1.0, 1e-2, 1e-4])
def test_a_cosine_kernel_of_more_samples_than_dimensions_is_semidefinite_enough(epsilon):
    vectors = np.concatenate([unit(80, 4)] * 3)
    view = CosineView(vectors, vectors)
    assert lower_bound(view) < 0
    function = LogDeterminant(view, regularisation=epsilon)
    state = function.empty()
    for item in range(60):
        state = function.add(state, item)
    left = function.gains(state, np.arange(60, 240))
    assert (left >= np.log(epsilon)).all()
    assert (left <= np.log(epsilon) + 20).all()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 9e-5, float("nan"), float("inf")])
def test_an_epsilon_that_float32_cannot_tell_from_0_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"regularisation is .*; expected .* ≥ 0\.0001"):
        LogDeterminant(ArrayView(2.0 * np.eye(3)), regularisation=epsilon)


def test_a_kernel_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="log-determinant needs a symmetric kernel"):
        LogDeterminant(ArrayView([[1.0, 0.5], [0.0, 1.0]]))
