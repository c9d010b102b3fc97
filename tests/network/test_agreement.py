"""Noise that we plant must come back as the ceiling that it sets."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import spearmanr

from influence_store.network.agreement import agreement
from influence_store.network.figures import figures
from influence_store.network.judged import Pairs

ROWS, COLUMNS = 150, 40


def block(rows=ROWS, columns=COLUMNS):
    """Targets and sources of every pair of a block, row by row."""
    return np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)


def test_the_same_labels_agree_wholly():
    targets, sources = block(5, 6)
    labels = np.random.default_rng(0).normal(size=30)
    found = agreement(labels, labels.copy(), targets, sources, seed=0)
    assert (found.spearman.mean, found.r2, found.sd_difference) == (1.0, 1.0, 0.0)
    assert (found.spearman_ceiling, found.r2_ceiling) == (1.0, 1.0)
    assert (found.pairs, found.ranked_targets) == (30, 5)


@pytest.mark.parametrize("reliability", [0.3, 0.64, 0.9])
def test_the_ceiling_is_what_the_truth_itself_reaches(reliability):
    rng = np.random.default_rng(4)
    targets, sources = block()
    truth = rng.normal(size=len(targets))
    noise = np.sqrt(1 / reliability - 1)
    first, second = truth + noise * rng.normal(size=(2, len(truth)))
    found = agreement(first, second, targets, sources, seed=0)

    judged = Pairs(first, np.full(len(first), first.mean()), targets, sources, 0 * targets)
    perfect = figures(judged, truth)
    assert found.spearman_ceiling == pytest.approx(perfect.spearman_per_target, abs=0.03)
    assert found.r2_ceiling == pytest.approx(perfect.r2, abs=0.03)
    assert found.r2_ceiling == pytest.approx(reliability, abs=0.03)
    assert found.sd_difference == pytest.approx(np.sqrt(2) * noise, rel=0.03)
    assert found.spearman.low < found.spearman.mean < found.spearman.high


def test_labels_of_pure_noise_leave_no_ceiling():
    targets, sources = block()
    first, second = np.random.default_rng(1).normal(size=(2, len(targets)))
    found = agreement(first, second, targets, sources, seed=0)
    assert abs(found.spearman.mean) < 0.05
    assert 0 <= found.spearman_ceiling < 0.25
    opposite = agreement(first, -first, targets, sources, seed=0)
    assert (opposite.spearman.mean, opposite.spearman_ceiling) == (-1.0, 0.0)


def test_figures_are_those_of_other_programs():
    rng = np.random.default_rng(8)
    targets, sources = block(7, 9)
    first = rng.normal(size=63)
    second = first + rng.normal(0.5, 1.0, size=63)
    found = agreement(first, second, targets, sources, seed=0)
    per_row = [spearmanr(first[targets == t], second[targets == t])[0] for t in range(7)]
    assert found.spearman.mean == pytest.approx(np.mean(per_row))
    misfit, spread = ((second - first) ** 2).sum(), ((first - first.mean()) ** 2).sum()
    assert found.r2 == pytest.approx(1 - misfit / spread)
    assert found.mean_difference == pytest.approx(second.mean() - first.mean())


def test_order_of_pairs_and_pairs_without_a_second_value_change_nothing():
    rng = np.random.default_rng(3)
    targets, sources = block(6, 8)
    first, second = rng.normal(size=(2, 48))
    plain = agreement(first, second, targets, sources, seed=0)
    order = rng.permutation(58)
    more = (
        np.append(first, np.full(10, 1.0)),
        np.append(second, np.full(10, np.nan)),
        np.append(targets, np.arange(10)),
        np.append(sources, np.full(10, 99)),
    )
    found = agreement(*(values[order] for values in more), seed=0)
    assert (found.pairs, found.ranked_targets) == (plain.pairs, plain.ranked_targets) == (48, 6)
    assert asdict(found.spearman) == pytest.approx(asdict(plain.spearman))
    assert (found.r2, found.sd_difference) == pytest.approx((plain.r2, plain.sd_difference))


def test_labels_that_cannot_be_ranked_have_no_ceiling_of_rank():
    targets, sources = block(10, 2)
    labels = np.random.default_rng(0).normal(size=20)
    found = agreement(labels, labels + 0.1, targets, sources, seed=0)
    assert found.spearman is None
    assert found.spearman_ceiling is None
    assert "no target with 3 labels" in found.line()
    json.dumps(found.facts())


def test_no_pair_in_common_is_no_agreement():
    targets, sources = block(2, 2)
    nothing = np.full(4, np.nan)
    assert agreement(np.zeros(4), nothing, targets, sources, seed=0) is None
