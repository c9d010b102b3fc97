from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import residual_on_cosine
from influence_store.network.baselines import (
    fit_additive_ridge,
    fit_cosine,
    fit_mean,
    row_and_column_effects,
)
from influence_store.network.labels import SeedPairs


def test_mean_predicts_the_mean_of_the_labels_everywhere(planter):
    planted = planter.interaction()
    x = planted.features.values
    predicted = fit_mean(planted.pairs, planted.features, seed=0).predict(x, x)
    np.testing.assert_allclose(predicted, planted.pairs.values.mean())


def test_cosine_finds_the_affine_map_that_was_planted(planter):
    planted = planter.cosine()
    estimator = fit_cosine(planted.pairs, planted.features, seed=0)
    assert estimator.head.scale == pytest.approx(0.3, abs=1e-5)
    assert estimator.head.offset == pytest.approx(0.1, abs=1e-5)
    x = planted.features.block("embedding")
    np.testing.assert_allclose(estimator.predict(x, x), planted.truth, atol=1e-5)


def test_cosine_never_turns_the_order_round(planter):
    planted = planter.block(-planter.embedding @ planter.embedding.T)
    estimator = fit_cosine(planted.pairs, planted.features, seed=0)
    assert estimator.head.scale == 0.0
    assert estimator.head.offset == pytest.approx(planted.pairs.values.mean())


def test_additive_ridge_recovers_scores_that_are_linear_in_the_features(planter):
    planted = planter.additive()
    x = planted.features.values
    predicted = fit_additive_ridge(planted.pairs, planted.features, seed=0).predict(x, x)
    np.testing.assert_allclose(predicted, planted.truth, atol=0.05 * planted.truth.std())


def test_additive_ridge_equals_ridge_on_the_joined_features(planter):
    planted = planter.interaction(noise=0.3)
    estimator = fit_additive_ridge(planted.pairs, planted.features, seed=0)
    x = estimator.target_tower.layers[0](planted.features.values.astype(np.float64))
    pairs = planted.pairs
    joined = np.hstack([x[pairs.targets], x[pairs.sources]])
    centred, y = joined - joined.mean(0), pairs.values - pairs.values.mean()
    strength = estimator.facts["ridge"] * np.eye(joined.shape[1])
    fitted = centred @ np.linalg.solve(centred.T @ centred + strength, centred.T @ y)
    f = planted.features.values
    predicted = estimator.predict(f, f)[pairs.targets, pairs.sources]
    np.testing.assert_allclose(predicted, fitted + pairs.values.mean(), atol=1e-5)


def test_row_and_column_effects_know_seen_samples_and_nothing_of_unseen_ones():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    t, s = (x.ravel() for x in np.meshgrid(np.arange(30), np.arange(30), indexing="ij"))
    pairs = SeedPairs(t, s, a[t] + b[s])
    seen = row_and_column_effects(pairs, t, s)
    assert np.corrcoef(seen, pairs.values)[0, 1] > 0.999
    unseen = row_and_column_effects(pairs, np.array([50]), np.array([60]))
    np.testing.assert_allclose(unseen, pairs.values.mean())


def test_residual_on_cosine_is_cosine_plus_a_correction(planter):
    mixed = planter.interaction().truth / 4 + planter.cosine().truth
    planted = planter.block(mixed)
    x = planted.features.values
    rows, columns = slice(40, 60), slice(100, 120)
    error = {}
    for fit in (fit_cosine, residual_on_cosine.fit):
        estimator = fit(planted.pairs, planted.features, seed=0)
        read = planted.features.select(estimator.features).values
        predicted = estimator.predict(read[rows], read[columns])
        error[fit] = ((predicted - mixed[rows, columns]) ** 2).mean()
    assert error[residual_on_cosine.fit] < 0.5 * error[fit_cosine]
    assert x.shape[1] == estimator.target_tower.d_in
