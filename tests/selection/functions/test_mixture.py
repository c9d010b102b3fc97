from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.disparity_sum import DisparitySum
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.graph_cut import GraphCut
from influence_store.selection.functions.mixture import Mixture
from influence_store.selection.functions.modular import Modular
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView

KERNEL = np.eye(4) + np.diag([0.5, 0.0], 2) + np.diag([0.5, 0.0], -2)
COVER = FacilityLocation(ArrayView(KERNEL), 0.0)
SCORES = Modular([0.0, 1.0, 5.0, 2.0])


def test_weights_decide_between_coverage_and_score():
    assert LazyGreedy().maximize(Mixture([COVER, SCORES], [1.0, 0.0]), 2).items[0] == 0
    assert LazyGreedy().maximize(Mixture([COVER, SCORES], [0.1, 1.0]), 2).items.tolist() == [2, 3]


def test_modular_scores_alone_are_top_k_with_ties_to_the_lowest_position():
    scores = Modular([1.0, 3.0, 3.0, 0.0])
    assert LazyGreedy().maximize(scores, 4).items.tolist() == [1, 2, 0, 3]


def test_a_mixture_is_as_well_behaved_as_the_parts_that_count():
    spread, cut = DisparitySum(ArrayView(KERNEL)), GraphCut(ArrayView(np.ones((4, 4))), lam=2.0)
    assert (Mixture([COVER, SCORES], [1, 1]).submodular, SCORES.monotone) == (True, True)
    assert not Mixture([COVER, spread], [1, 1]).submodular
    assert Mixture([COVER, spread], [1, 0]).submodular
    assert Mixture([COVER, cut], [1, 1]).submodular
    assert not Mixture([COVER, cut], [1, 1]).monotone


def test_a_mixture_holds_mixtures():
    inner = Mixture([COVER, SCORES], [0.5, 1.0])
    outer = Mixture([inner, SCORES], [2.0, 1.0])
    items = np.array([1, 2])
    flat = COVER.value(items) + 3.0 * SCORES.value(items)
    assert outer.value(items) == pytest.approx(flat)
    assert outer.facts["parts"][0]["parts"][0]["weight"] == 0.5


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_a_weight_that_would_undo_the_guarantees_is_refused(weight):
    with pytest.raises(ValueError, match=r"a weight is .*; expected a finite number ≥ 0"):
        Mixture([COVER, SCORES], [1.0, weight])


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"parts over \[3, 4\] sources"):
        Mixture([COVER, Modular([1.0, 2.0, 3.0])], [1.0, 1.0])
    with pytest.raises(ValueError, match="found 2 functions and 1 weights"):
        Mixture([COVER, SCORES], [1.0])
    with pytest.raises(ValueError, match="found 0 functions"):
        Mixture([], [])


@pytest.mark.parametrize("scores", [[], [[1.0]], [1.0, np.nan]])
def test_scores_that_are_not_a_row_of_numbers_are_refused(scores):
    with pytest.raises(ValueError, match=r"expected scores \(n,\)|not finite"):
        Modular(scores)
