from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from influence_store.selection.functions.gccg import GCCG
from influence_store.selection.functions.gcmi import GCMI
from influence_store.selection.functions.graph_cut import GraphCut
from influence_store.selection.functions.pairs import Symmetric
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.views import ArrayView


def own_kernel(n, seed=0):
    # 64ths: every sum below is exact.
    values = np.random.default_rng(seed).integers(0, 65, (n, n)) / 64
    return np.maximum(values, values.T)


def test_up_to_one_half_it_is_monotone_whatever_the_kernel():
    for seed in range(10):
        view = ArrayView(own_kernel(12, seed))
        assert GraphCut(view, lam=0.5).monotone
        assert not GraphCut(view, lam=1.0).monotone


def test_monotone_is_said_exactly_where_no_source_lowers_any_set():
    for seed in range(20):
        view = ArrayView(own_kernel(5, seed))
        for lam in (0.5, 0.55, 0.6, 0.7):
            function = GraphCut(view, lam=lam)
            values = {
                items: function.value(np.array(items, np.int64))
                for size in range(6)
                for items in combinations(range(5), size)
            }
            rises = all(
                values[tuple(sorted({*items, j}))] >= value
                for items, value in values.items()
                for j in range(5)
            )
            assert function.monotone == rises


def test_the_best_set_can_be_smaller_than_the_budget():
    twins = ArrayView(np.ones((4, 4)))
    function = GraphCut(twins, lam=2.0)
    chosen = LazyGreedy().maximize(function, 4)
    assert chosen.items.tolist() == [0]
    assert chosen.gains.tolist() == [2.0]


def test_lazy_greedy_is_naive_greedy_where_f_is_not_monotone():
    for seed in range(10):
        function = GraphCut(ArrayView(own_kernel(30, seed)), lam=1.5)
        lazy, naive = (one().maximize(function, 30) for one in (LazyGreedy, NaiveGreedy))
        np.testing.assert_array_equal(lazy.items, naive.items)
        np.testing.assert_array_equal(lazy.gains, naive.gains)
        assert len(lazy.items) < 30


def test_a_larger_lambda_repeats_itself_less():
    kernel = own_kernel(40)
    shared = []
    for lam in (0.0, 0.5, 2.0):
        items = NaiveGreedy().maximize(GraphCut(ArrayView(kernel), lam=lam), 5).items
        shared.append(kernel[np.ix_(items, items)].sum())
    assert shared == sorted(shared, reverse=True)
    assert shared[0] > shared[-1]


def test_gcmi_is_what_graph_cut_counts_twice():
    # f(A) + f(Q) − f(A ∪ Q), with the queries as sources 8 and 9 of one symmetric kernel.
    kernel = own_kernel(10)
    f = GraphCut(ArrayView(kernel), lam=0.75)
    shared = GCMI(ArrayView(kernel[8:, :8]), lam=0.75)
    for items in combinations(range(8), 3):
        a, q = np.array(items), np.array([8, 9])
        twice = f.value(a) + f.value(q) - f.value(np.append(a, q))
        assert shared.value(a) == pytest.approx(twice, abs=1e-9)


def test_gccg_is_the_gain_of_graph_cut_over_what_is_given():
    # f(A ∪ P) − f(P), representing the pool alone.
    kernel = own_kernel(10)
    f = GraphCut(ArrayView(kernel[:8]), ArrayView(kernel), lam=0.75)
    conditional = GCCG(ArrayView(kernel[:8, :8]), ArrayView(kernel[:8, 8:]), lam=0.75)
    for items in combinations(range(8), 3):
        a, p = np.array(items), np.array([8, 9])
        gain = f.value(np.append(a, p)) - f.value(p)
        assert conditional.value(a) == pytest.approx(gain, abs=1e-9)


def test_a_kernel_that_differs_in_its_directions_is_refused_with_the_way_out():
    kernel = own_kernel(4)
    kernel[1, 2] += 0.5
    with pytest.raises(ValueError, match=r"up to 0\.5 apart\. Wrap the kernel in Symmetric"):
        GraphCut(ArrayView(kernel))
    averaged = GraphCut(Symmetric(ArrayView(kernel)))
    items = np.array([1, 2, 3])
    expected = averaged.view.block(np.arange(4), items).sum(dtype=np.float64)
    pairs = kernel[np.ix_(items, items)].sum()
    assert averaged.value(items) == pytest.approx(expected - 0.5 * pairs, abs=1e-6)


def test_a_kernel_of_other_targets_cannot_say_what_sources_share():
    pool = ArrayView(np.ones((3, 4)))
    with pytest.raises(ValueError, match="3 targets × 4 sources, expected a square kernel"):
        GraphCut(pool)
    with pytest.raises(ValueError, match="4 sources and the one among sources 5"):
        GraphCut(pool, ArrayView(np.ones((5, 5))))


def test_negative_values_among_sources_are_refused():
    with pytest.raises(ValueError, match="graph cut needs values ≥ 0"):
        GraphCut(ArrayView([[1.0, -0.5], [-0.5, 1.0]]))
    with pytest.raises(ValueError, match="GCCG needs values ≥ 0"):
        GCCG(ArrayView([[1.0, -0.5], [-0.5, 1.0]]), ArrayView([[0.0], [0.0]]))


def test_a_missing_value_is_refused_with_its_source():
    with pytest.raises(ValueError, match="not finite, the first at position 1"):
        GraphCut(ArrayView([[0.5, np.nan, 0.2]]), ArrayView(np.eye(3)))


def test_given_samples_of_another_pool_are_refused():
    with pytest.raises(ValueError, match="2 targets and the given kernel 3"):
        GCCG(ArrayView(np.eye(2)), ArrayView(np.zeros((3, 1))))
