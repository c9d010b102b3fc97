from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView

# Three sources, two queries; published as ground × queries, so the rows here are the transpose.
WORKED = ArrayView(np.array([[0.5, 0.1], [0.9, 0.3], [0.2, 0.0]]).T)


@pytest.mark.parametrize(("items", "value"), [([0], 1.1), ([1], 2.1), ([2], 0.4), ([0, 1], 2.6)])
def test_worked_example(items, value):
    assert FLQMI(WORKED).value(np.array(items)) == pytest.approx(value, abs=1e-6)


def test_eta_weighs_relevance_against_coverage():
    # Sources 0 and 1 sit on query 0, source 2 is a poorer match that alone covers query 1.
    view = ArrayView([[0.9, 0.8, 0.0], [0.0, 0.0, 0.3]])
    picks = {eta: LazyGreedy().maximize(FLQMI(view, eta=eta), 2).items for eta in (0.0, 5.0)}
    assert picks[0.0].tolist() == [0, 2]
    assert picks[5.0].tolist() == [0, 1]


def test_without_relevance_it_is_coverage_of_the_queries():
    assert FLQMI(WORKED, eta=0.0).value(np.array([0, 1, 2])) == pytest.approx(1.2, abs=1e-6)


def test_a_negative_value_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"FLQMI needs values ≥ 0 and the smallest is -0\.25"):
        FLQMI(ArrayView([[0.5, -0.25]]))


def test_a_missing_value_is_refused_with_its_source():
    with pytest.raises(ValueError, match="not finite, the first at position 1"):
        FLQMI(ArrayView([[0.5, np.nan, 0.2]]))


@pytest.mark.parametrize("eta", [-1.0, float("nan"), float("inf")])
def test_eta_is_a_finite_weight(eta):
    with pytest.raises(ValueError, match=r"eta is .*; expected a finite number ≥ 0"):
        FLQMI(WORKED, eta=eta)
