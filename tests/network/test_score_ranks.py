"""Weighted coefficients against SciPy on samples that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from influence_store.network.score_ranks import kendall, resamples, spearman


@st.composite
def orders(draw):
    n = draw(st.integers(3, 12))
    small = st.integers(0, 4)
    a, b = (draw(st.lists(small, min_size=n, max_size=n)) for _ in range(2))
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return np.array(a, float), np.array(b, float), np.array([counts], float)


@settings(max_examples=60, deadline=None)
@given(orders())
def test_counts_are_as_good_as_copies(drawn):
    a, b, counts = drawn
    copies = np.repeat(np.arange(len(a)), counts[0].astype(int))
    if len(copies) < 2 or np.ptp(a[copies]) == 0 or np.ptp(b[copies]) == 0:
        expected = 0.0, 0.0
    else:
        expected = (
            stats.spearmanr(a[copies], b[copies]).statistic,
            stats.kendalltau(a[copies], b[copies]).statistic,
        )
    assert spearman(a, b, counts)[0] == pytest.approx(expected[0], abs=1e-9)
    assert kendall(a, b, counts)[0] == pytest.approx(expected[1], abs=1e-9)


def test_every_row_of_counts_is_a_sample_of_its_own():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    counts = resamples(30, 7, rng)
    assert (counts.sum(1) == 30).all()
    for rank in (spearman, kendall):
        together = rank(a, b, counts)
        np.testing.assert_allclose(
            together, [rank(a, b, one[None])[0] for one in counts], atol=1e-12
        )


def test_an_order_that_does_not_exist_counts_as_nothing():
    one = np.ones((1, 5))
    assert spearman(np.arange(5.0), np.full(5, 0.1 + 0.2), one)[0] == 0.0
    assert kendall(np.arange(5.0), np.full(5, 0.1 + 0.2), one)[0] == 0.0
