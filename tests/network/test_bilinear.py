"""The bilinear network is one ridge on products of features, whatever the design."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import bilinear
from influence_store.network import label_block as label_block_module
from influence_store.network.bilinear import Settings
from influence_store.network.features import Features
from influence_store.network.label_block import inner_folds, label_block, left_out_error
from influence_store.network.labels import SeedPairs

RIDGES = Settings(0.7, 0.2)


def with_one(estimator, features: Features) -> np.ndarray:
    """z = (x, 1) as the estimator scales it."""
    x = estimator.target_tower.layers[0](features.values.astype(np.float64))
    return np.hstack([x, np.ones((len(x), 1))])


def test_complete_block_gives_ridge_on_one_side_and_then_on_the_other(planter):
    """The two-step form in the primal: no kernel, no eigenvalues, two ordinary ridges."""
    planted = planter.interaction(noise=0.5)
    pairs, features = planted.pairs, planted.features
    estimator = bilinear.fit(pairs, features, seed=0, settings=RIDGES)
    z = with_one(estimator, features)
    t, s = np.unique(pairs.targets), np.unique(pairs.sources)
    y = np.zeros((len(t), len(s)))
    y[np.searchsorted(t, pairs.targets), np.searchsorted(s, pairs.sources)] = pairs.values
    ridge = lambda x, y, strength: np.linalg.solve(  # noqa: E731
        x.T @ x + strength * np.eye(x.shape[1]), x.T @ y
    )
    weights = ridge(z[s], ridge(z[t], y - y.mean(), RIDGES.target_ridge).T, RIDGES.source_ridge).T
    expected = z @ weights @ z.T + y.mean()
    got = estimator.predict(features.values, features.values)
    bound = estimator.facts["truncation_error_bound"]
    assert bound < 0.002 * y.std()
    off = np.abs(got - expected)[np.ix_(t, s)]
    assert off.max() <= bound + 1e-4 * y.std()
    np.testing.assert_allclose(got, expected, atol=0.01 * y.std())


def test_design_with_holes_is_the_gaussian_process_on_products_of_features(planter):
    planted = planter.interaction(noise=0.5)
    pairs = planted.pairs.take(np.random.default_rng(0).random(len(planted.pairs)) < 0.3)
    estimator = bilinear.fit(pairs, planted.features, seed=0, settings=RIDGES)
    z = with_one(estimator, planted.features)
    t, s, y = pairs.targets, pairs.sources, pairs.values
    noisy_t = z[t] @ z[t].T + RIDGES.target_ridge * (t[:, None] == t)
    noisy_s = z[s] @ z[s].T + RIDGES.source_ridge * (s[:, None] == s)
    dual = np.linalg.solve(noisy_t * noisy_s, y - y.mean())
    weights = np.einsum("k,kd,ke->de", dual, z[t], z[s])
    expected = z @ weights @ z.T + y.mean()
    x = planted.features.values
    np.testing.assert_allclose(estimator.predict(x, x), expected, atol=0.01 * y.std())


def test_it_holds_main_effects_and_interaction_and_no_more(planter):
    """f(x, y) is affine in each side: second differences along a line vanish."""
    planted = planter.interaction(noise=0.1)
    estimator = bilinear.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    line = np.stack([x[3], (x[3] + x[5]) / 2, x[5]])
    by_target, by_source = estimator.predict(line, x), estimator.predict(x, line).T
    for values in (by_target, by_source):
        np.testing.assert_allclose(values[1], (values[0] + values[2]) / 2, atol=1e-6)


@pytest.mark.parametrize("kind", ["interaction", "additive"])
def test_samples_never_labelled_are_predicted(planter, kind):
    planted = getattr(planter, kind)(noise=0.1)
    estimator = bilinear.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    rows, columns = slice(40, 60), slice(100, 120)
    predicted, truth = estimator.predict(x[rows], x[columns]), planted.truth[rows, columns]
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.95


def test_a_rank_two_truth_needs_few_columns_and_the_facts_say_so(planter):
    planted = planter.interaction()
    facts = bilinear.fit(planted.pairs, planted.features, seed=0).facts
    assert 2 <= facts["rank"] <= planted.features.values.shape[1] + 1
    assert (facts["target_ridge"], facts["source_ridge"]) == (0.03, 0.03)


def test_noisier_labels_take_more_ridge(planter):
    strength = [
        facts["target_ridge"] * facts["source_ridge"]
        for planted in (planter.interaction(), planter.interaction(noise=5.0))
        for facts in [bilinear.fit(planted.pairs, planted.features, seed=0).facts]
    ]
    assert strength[1] >= 100 * strength[0]


def test_rows_are_targets_also_where_the_matrix_is_not_square(planter):
    planted = planter.interaction()
    pairs = planted.pairs.take(planted.pairs.sources < 85)
    estimator = bilinear.fit(pairs, planted.features, seed=0)
    x = planted.features.values
    predicted = estimator.predict(x[:40], x[60:75])
    assert predicted.shape == (40, 15)
    assert np.corrcoef(predicted.ravel(), planted.truth[:40, 60:75].ravel())[0, 1] > 0.95
    assert np.corrcoef(predicted.ravel(), planted.truth[60:75, :40].T.ravel())[0, 1] < 0.9


def test_equal_labels_are_predicted_as_they_are(planter):
    planted = planter.block(np.full((120, 120), 0.25))
    estimator = bilinear.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    np.testing.assert_allclose(estimator.predict(x, x), 0.25, atol=1e-6)


def test_left_out_error_is_that_of_fits_which_never_saw_the_samples(planter, monkeypatch):
    monkeypatch.setattr(label_block_module, "TOLERANCE", 1e-10)  # the search is content with 3 %
    monkeypatch.setattr(label_block_module, "ITERATIONS", 1000)
    planted = planter.interaction(noise=0.5)
    pairs = planted.pairs.take(np.random.default_rng(0).random(len(planted.pairs)) < 0.5)
    block = label_block(pairs, pairs.values)
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(len(block.targets), 5)), rng.normal(size=(len(block.sources), 5))
    k_t, k_s = a @ a.T, b @ b.T
    folds = inner_folds(block, 4, np.random.default_rng(2))
    errors = []
    for (rows, columns), (new_rows, new_columns) in folds:
        r, c = (x.ravel() for x in np.meshgrid(rows, columns, indexing="ij"))
        kept = block.labelled[r, c]
        r, c = r[kept], c[kept]
        y = block.values[r, c]
        gram = (k_t + 0.7 * np.eye(len(k_t)))[np.ix_(r, r)] * (k_s + 0.2 * np.eye(len(k_s)))[
            np.ix_(c, c)
        ]
        dual = np.linalg.solve(gram, y - y.mean())
        for i in new_rows:
            for j in new_columns:
                if block.labelled[i, j]:
                    predicted = (k_t[i, r] * k_s[j, c]) @ dual + y.mean()
                    errors.append(float(predicted - block.values[i, j]) ** 2)
    got = left_out_error(block, k_t, k_s, (0.7, 0.2), folds)
    assert got == pytest.approx(np.mean(errors), rel=1e-6)


def test_inner_folds_judge_every_sample_once_and_fit_none_of_the_judged(planter):
    block = label_block(planter.interaction().pairs, np.zeros(1600))
    folds = inner_folds(block, 4, np.random.default_rng(0))
    for side in (0, 1):
        judged = np.concatenate([new[side] for _, new in folds])
        assert sorted(judged) == list(range(40))
        for fitted, new in folds:
            assert sorted([*fitted[side], *new[side]]) == list(range(40))


def test_without_a_pair_to_judge_by_the_error_is_that_of_the_mean():
    corner = SeedPairs(np.array([0, 1]), np.array([2, 3]), np.array([0.0, 4.0]))
    block = label_block(corner, corner.values)
    folds = [(([0], [1]), ([1], [0]))]
    assert left_out_error(block, np.eye(2), np.eye(2), (1.0, 1.0), folds) == 4.0
