"""An interval is only worth its measured coverage."""

from __future__ import annotations

import sys
import warnings
from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from influence_store.network import NETWORKS
from influence_store.network.evaluate import predict_held_out
from influence_store.network.features import Features, lengths
from influence_store.network.labels import SeedPairs, folds, usable

pytest.importorskip("crepes", reason="pip install 'influence-store[train]'")

from influence_store.network.conformal import (
    conformal_interval,
    pair_interval,
    scalar_interval,
)

RIDGE = "additive-ridge"


def held_out(pairs: SeedPairs, features: Features, seed: int = 0, repeats: int = 1):
    split = list(folds(pairs, targets=4, sources=4, repeats=repeats, seed=seed))
    return predict_held_out(pairs, features, split, {RIDGE: NETWORKS.get(RIDGE)}, seed=seed)


def oracle(errors, coverage: str) -> float | None:
    """The ⌈(n + 1) · coverage⌉-th smallest error, in exact arithmetic."""
    k = ceil((len(errors) + 1) * Fraction(coverage))
    return float(np.sort(errors)[k - 1]) if k <= len(errors) else None


@pytest.mark.parametrize("coverage", ["0.5", "0.75", "0.8", "0.9", "0.95"])
@pytest.mark.parametrize("n", [1, 4, 8, 9, 10, 19, 20, 39, 99, 100])
def test_the_half_width_is_the_order_statistic_of_the_theorem(n, coverage):
    errors = np.random.default_rng(n).standard_cauchy(n)
    found = conformal_interval(errors, np.zeros(n), np.zeros(n, int), coverage=float(coverage))
    assert found.half_width == pytest.approx(oracle(np.abs(errors), coverage), abs=1e-12)
    assert found.n_calibration == n


def test_one_more_value_is_caught_as_often_as_promised():
    rng = np.random.default_rng(5)
    caught = 0
    for _ in range(2000):
        held, new = rng.standard_cauchy(19), rng.standard_cauchy()
        found = conformal_interval(held, np.zeros(19), np.zeros(19, int), coverage=0.9)
        caught += abs(new) <= found.half_width
    assert caught / 2000 == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 2000))


def test_too_few_values_promise_nothing():
    found = conformal_interval(np.arange(8.0), np.zeros(8), np.arange(8), coverage=0.9)
    assert found.half_width is None
    assert found.measured_coverage is None
    assert found.line() == "no 90% interval: 8 held-out values"
    assert conformal_interval(np.zeros(0), np.zeros(0), np.zeros(0, int)).half_width is None


def test_coverage_is_measured_without_the_values_that_share_a_label():
    rng = np.random.default_rng(2)
    truth, predicted = rng.normal(size=(2, 300))
    truth *= 1 + 9 * (np.arange(300) < 150)  # the first half is much harder than the second
    groups = np.stack([np.arange(300) // 150, rng.integers(0, 3, 300)], axis=1)
    errors, caught = np.abs(truth - predicted), []
    for k in range(300):
        apart = (groups[:, 0] != groups[k, 0]) & (groups[:, 1] != groups[k, 1])
        caught.append(errors[k] <= oracle(errors[apart], "0.8"))
    found = conformal_interval(truth, predicted, groups, coverage=0.8)
    assert found.measured_coverage == pytest.approx(np.mean(caught))
    assert found.measured_coverage < 0.75  # 80 % if each half calibrated itself


def test_a_scalar_is_judged_by_the_means_of_unseen_sources_over_seen_targets(planter):
    planted = planter.interaction(noise=0.5)
    held = held_out(planted.pairs, planted.features)
    pairs, predicted = held.pairs["Q2"], held.predicted["Q2"][RIDGE]
    errors = []
    for source in np.unique(planted.pairs.sources):
        own = pairs.sources == source
        (fold,) = set(pairs.folds[own].tolist())
        fitted = list(folds(planted.pairs, targets=4, sources=4, seed=0))[fold].fit
        assert source not in planted.pairs.sources[fitted]
        assert set(pairs.targets[own]) <= set(planted.pairs.targets[fitted].tolist())
        errors.append(abs(pairs.truth[own].mean() - predicted[own].mean()))
    found = scalar_interval(held, RIDGE, coverage=0.8)
    assert found.n_calibration == len(errors) == 40
    assert found.half_width == pytest.approx(oracle(np.array(errors), "0.8"))


def test_averaging_over_targets_leaves_little_of_the_noise_of_a_pair(planter):
    planted = planter.additive(noise=1.0)
    held = held_out(planted.pairs, planted.features)
    pair, scalar = pair_interval(held, RIDGE), scalar_interval(held, RIDGE)
    noise = planted.pairs.values.std() / np.sqrt(2)
    assert pair.half_width > 1.6 * noise  # ± 1.64 sd of the noise alone
    assert scalar.half_width < 0.6 * pair.half_width


def test_pairs_are_judged_by_pairs_without_a_sample_in_common(planter):
    planted = planter.interaction(noise=0.3)
    held = held_out(planted.pairs, planted.features)
    pairs = held.pairs["Q4"]
    errors = np.abs(pairs.truth - held.predicted["Q4"][RIDGE])
    caught = []
    for fold in range(16):
        own = pairs.folds == fold
        t, s = set(pairs.targets[own].tolist()), set(pairs.sources[own].tolist())
        apart = [
            a not in t and b not in s for a, b in zip(pairs.targets, pairs.sources, strict=True)
        ]
        assert sum(apart) == pytest.approx(len(errors) * 9 / 16, rel=0.05)
        caught += (errors[own] <= oracle(errors[apart], "0.9")).tolist()
    assert pair_interval(held, RIDGE).measured_coverage == pytest.approx(np.mean(caught))


def test_a_value_that_is_judged_again_counts_once(planter):
    planted = planter.interaction(noise=0.3)
    once = held_out(planted.pairs, planted.features)
    again = held_out(planted.pairs, planted.features, repeats=2)
    assert len(again.pairs["Q4"].truth) == 2 * len(once.pairs["Q4"].truth)
    assert scalar_interval(again, RIDGE) == scalar_interval(once, RIDGE)
    assert pair_interval(again, RIDGE) == pair_interval(once, RIDGE)


def test_two_groups_of_sources_are_enough_to_measure_coverage(planter):
    planted = planter.interaction(noise=0.3)
    split = list(folds(planted.pairs, targets=4, sources=2, repeats=2, seed=0))
    fits = {RIDGE: NETWORKS.get(RIDGE)}
    held = predict_held_out(planted.pairs, planted.features, split, fits, seed=0)
    scalar, pair = scalar_interval(held, RIDGE), pair_interval(held, RIDGE)
    assert (scalar.n_calibration, pair.n_calibration) == (40, len(planted.pairs))
    assert pair.measured_coverage == pytest.approx(0.9, abs=0.05)
    # Each group of 20 sources is judged by the errors of the other fit: measured, if roughly.
    assert 0.5 <= scalar.measured_coverage <= 1.0


def test_the_warning_filters_of_the_process_stay_as_they_are(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "crepes"]:
        monkeypatch.delitem(sys.modules, name)
    before = list(warnings.filters)
    conformal_interval(np.arange(30.0), np.zeros(30), np.arange(30))
    assert "crepes" in sys.modules
    assert list(warnings.filters) == before


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90.0])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_interval(np.zeros(9), np.zeros(9), np.zeros(9, int), coverage=coverage)


def test_arrays_that_differ_in_length_are_refused():
    with pytest.raises(ValueError, match="differ"):
        conformal_interval(np.zeros(9), np.zeros(8), np.zeros(9, int))


@pytest.mark.data
def test_real_unseen_sources_lie_within_as_often_as_promised(data_folder):
    held = np.load(data_folder / "labels" / "less_C.npz")
    labels = held["less"].astype(np.float64)
    features = Features.of(
        {
            "embedding": held["minilm"].astype(np.float32),
            "lengths": lengths(held["prompt_tokens"], held["response_tokens"]),
        }
    )
    scalars, pairs = [], []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(len(labels))
        panel, sources, unseen, others = order[:60], order[60:120], order[120:700], order[700:]
        t, s = (x.ravel() for x in np.meshgrid(panel, sources, indexing="ij"))
        lesson = usable(t, s, labels[t, s], features.block("embedding"))
        judged = held_out(lesson, features, seed)
        estimator = NETWORKS.get(RIDGE)(lesson, features, seed=seed)

        def errors(targets, unseen=unseen, estimator=estimator):
            predicted = estimator.predict(features.values[targets], features.values[unseen])
            return labels[np.ix_(targets, unseen)] - predicted

        interval = scalar_interval(judged, RIDGE)
        scalars.append((np.abs(errors(panel).mean(0)) <= interval.half_width).mean())
        pairs.append((np.abs(errors(others)) <= pair_interval(judged, RIDGE).half_width).mean())
        assert interval.measured_coverage == pytest.approx(0.9, abs=0.07)
    # The promise is about the mean over seeds: one seed's sources may be easier than the rest.
    assert np.mean(scalars) == pytest.approx(0.9, abs=0.04)
    assert np.mean(pairs) == pytest.approx(0.9, abs=0.03)
