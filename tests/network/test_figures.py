from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from influence_store.network.figures import (
    calibration,
    figures,
    kendall,
    per_target,
    r_squared,
    spearman,
    top_k,
    without_effects,
)
from influence_store.network.judged import Pairs

RNG = np.random.default_rng(0)


def block(matrix: np.ndarray, baseline: float = 0.0) -> Pairs:
    row, column = np.indices(matrix.shape).reshape(2, -1)
    return Pairs(matrix.ravel(), np.full(matrix.size, baseline), row, column, row * 0)


def test_error_figures_are_their_definitions():
    truth, predicted = RNG.normal(size=(2, 6, 9))
    found = figures(block(truth, baseline=0.2), predicted.ravel())
    assert found.mse == pytest.approx(((truth - predicted) ** 2).mean())
    assert found.mae == pytest.approx(np.abs(truth - predicted).mean())
    assert found.r2 == pytest.approx(1 - found.mse / ((truth - 0.2) ** 2).mean())
    assert found.pairs == 54


def test_equal_labels_have_r2_zero():
    assert r_squared(block(np.full((3, 4), 0.7), baseline=0.7), RNG.normal(size=12)) == 0.0


def test_rank_figures_agree_with_scipy_row_by_row():
    truth = RNG.normal(size=(8, 12))
    predicted = np.round(truth + RNG.normal(size=truth.shape), 0)  # with ties
    found = figures(block(truth), predicted.ravel())
    rows = list(zip(truth, predicted, strict=True))
    assert found.spearman_per_target == pytest.approx(
        np.mean([stats.spearmanr(a, b).statistic for a, b in rows])
    )
    assert found.kendall_per_target == pytest.approx(
        np.mean([stats.kendalltau(a, b).statistic for a, b in rows])
    )
    assert found.spearman_pooled == pytest.approx(
        stats.spearmanr(truth.ravel(), predicted.ravel()).statistic
    )
    assert found.spearman_columns == pytest.approx(
        stats.spearmanr(truth.mean(0), predicted.mean(0)).statistic
    )


def test_prediction_without_order_has_rank_correlation_zero_and_not_nan():
    assert spearman(np.arange(5.0)[None], np.zeros((1, 5))) == [0.0]
    assert kendall(np.arange(5.0)[None], np.zeros((1, 5))) == [0.0]


def test_rows_of_equal_labels_and_short_rows_are_left_out():
    truth = RNG.normal(size=(4, 5))
    truth[1] = 0.0
    pairs = block(truth)
    keep = ~((pairs.targets == 2) & (pairs.sources > 1))
    cut = Pairs(
        *(getattr(pairs, f)[keep] for f in ("truth", "baseline")),
        *(getattr(pairs, f)[keep] for f in ("targets", "sources", "folds")),
    )
    assert len(per_target(cut, cut.truth, spearman)) == 2


def test_predictions_of_different_fits_are_never_ranked_against_each_other():
    truth = np.tile(np.arange(4.0), 2)
    pairs = Pairs(truth, truth * 0, truth.astype(int) * 0, np.arange(8), np.repeat([0, 1], 4))
    predicted = truth + np.repeat([0.0, 100.0], 4)
    assert per_target(pairs, predicted, spearman).tolist() == [1.0]
    assert spearman(truth[None], predicted[None]) < 1.0


def test_effects_of_a_complete_block_are_removed_by_double_centring():
    m = RNG.normal(size=(7, 5))
    rest, share = without_effects(block(m), m.ravel())
    centred = m - m.mean(0) - m.mean(1, keepdims=True) + m.mean()
    np.testing.assert_allclose(rest, centred.ravel(), atol=1e-8)
    assert share == pytest.approx(1 - (centred**2).sum() / ((m - m.mean()) ** 2).sum())


def test_additive_labels_have_no_interaction_to_explain():
    m = RNG.normal(size=(6, 1)) + RNG.normal(size=(1, 8))
    found = figures(block(m), m.ravel())
    assert found.interaction_r2 is None
    assert found.label_additivity == pytest.approx(1.0)
    assert found.additivity == pytest.approx(1.0)


def test_interaction_r2_forgives_wrong_row_and_column_effects():
    m = RNG.normal(size=(6, 8))
    shifted = m + RNG.normal(size=(6, 1)) * 3 + RNG.normal(size=(1, 8)) * 3
    assert figures(block(m), shifted.ravel()).interaction_r2 == pytest.approx(1.0)
    assert figures(block(m), np.zeros(48)).interaction_r2 == pytest.approx(0.0)


def test_effects_of_a_block_with_holes_leave_nothing_of_additive_values():
    m = RNG.normal(size=(10, 1)) + RNG.normal(size=(1, 12))
    pairs = block(m)
    keep = RNG.random(m.size) < 0.5
    holes = Pairs(
        pairs.truth[keep],
        pairs.baseline[keep],
        pairs.targets[keep],
        pairs.sources[keep],
        pairs.folds[keep],
    )
    assert without_effects(holes, holes.truth)[1] == pytest.approx(1.0)


def test_top_k_is_the_share_of_the_true_best_and_knows_its_chance():
    truth = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    predicted = np.array([5.0, 0.0, 4.0, 1.0, 2.0, 3.0])
    found = top_k(block(truth), predicted, 3)
    assert found.overlap == pytest.approx(2 / 3)
    assert found.chance == 0.5


def test_prediction_without_order_finds_what_chance_finds():
    truth = RNG.normal(size=(9, 10))
    found = top_k(block(truth), np.zeros(90), 3)
    assert found.overlap == pytest.approx(found.chance)


def test_calibration_undoes_an_affine_map():
    truth = RNG.normal(size=50)
    assert calibration(truth, 2 * truth + 3) == pytest.approx((0.5, -1.5))
    assert calibration(truth, np.full(50, 0.1)) == (None, None)


def test_order_of_the_pairs_changes_no_figure():
    truth, predicted = RNG.normal(size=(2, 9, 7))
    pairs, flat = block(truth), predicted.ravel()
    order = RNG.permutation(63)
    moved = Pairs(
        pairs.truth[order],
        pairs.baseline[order],
        pairs.targets[order],
        pairs.sources[order],
        pairs.folds[order],
    )
    one, other = figures(pairs, flat).facts(), figures(moved, flat[order]).facts()
    assert one["top_k"] == other["top_k"]
    for name in ("r2", "interaction_r2", "additivity", "spearman_per_target", "kendall_per_target"):
        assert one[name] == pytest.approx(other[name])
