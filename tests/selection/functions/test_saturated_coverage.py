from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.gcmi import GCMI
from influence_store.selection.functions.saturated_coverage import SaturatedCoverage
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.views import ArrayView


def test_a_target_that_has_enough_asks_for_no_more():
    # Source 0 gives target 0 its half of all there is; source 2 is the only one for target 1.
    view = ArrayView([[1.0, 1.0, 0.0], [0.0, 0.0, 0.25]])
    chosen = LazyGreedy().maximize(SaturatedCoverage(view, alpha=0.5), 3)
    assert chosen.items.tolist() == [0, 2, 1]
    assert chosen.gains.tolist() == [1.0, 0.125, 0.0]


def test_all_of_everything_is_the_sum_over_targets():
    view = ArrayView(np.random.default_rng(0).random((5, 9)))
    items = np.array([1, 3, 8])
    assert SaturatedCoverage(view, alpha=1.0).value(items) == pytest.approx(GCMI(view).value(items))


def test_lazy_greedy_is_naive_greedy_bit_for_bit():
    for seed in range(10):
        view = ArrayView(np.random.default_rng(seed).lognormal(sigma=3, size=(20, 40)))
        function = SaturatedCoverage(view, alpha=0.15)
        lazy, naive = (one().maximize(function, 40) for one in (LazyGreedy, NaiveGreedy))
        np.testing.assert_array_equal(lazy.items, naive.items)
        np.testing.assert_array_equal(lazy.gains, naive.gains)


def test_a_negative_value_is_refused():
    with pytest.raises(ValueError, match="saturated coverage needs values ≥ 0"):
        SaturatedCoverage(ArrayView([[0.5, -0.25]]))


@pytest.mark.parametrize("alpha", [0.0, 1.5, float("nan")])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValueError, match=r"alpha is .*; expected a number above 0 and up to 1"):
        SaturatedCoverage(ArrayView(np.eye(2)), alpha=alpha)
