from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import kernel_ridge
from influence_store.network.features import Features
from influence_store.network.labels import SeedPairs
from influence_store.network.product_system import solve, truncate


def kernels(n_t: int = 17, n_s: int = 11) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    t, s = rng.normal(size=(n_t, 4)), rng.normal(size=(n_s, 4))
    gauss = lambda x: np.exp(-0.2 * ((x[:, None] - x[None]) ** 2).sum(-1))  # noqa: E731
    return gauss(t), gauss(s), rng


def test_complete_block_gives_the_published_closed_form_in_one_step():
    k_t, k_s, rng = kernels()
    y = rng.normal(size=(17, 11))
    got = solve(k_t, k_s, np.ones(y.shape, bool), y, 0.3, 0.7)
    closed = np.linalg.inv(k_t + 0.3 * np.eye(17)) @ y @ np.linalg.inv(k_s + 0.7 * np.eye(11))
    np.testing.assert_allclose(got.weights, closed, rtol=1e-8, atol=1e-8)
    assert got.iterations == 1


def test_block_with_holes_gives_the_gaussian_process_on_the_labelled_pairs():
    k_t, k_s, rng = kernels()
    labelled = rng.random((17, 11)) < 0.4
    y = np.where(labelled, rng.normal(size=(17, 11)), np.nan_to_num(np.inf))
    got = solve(k_t, k_s, labelled, y, 0.3, 0.7, tolerance=1e-10).weights
    row, column = np.nonzero(labelled)
    covariance = (k_t + 0.3 * np.eye(17))[np.ix_(row, row)] * (k_s + 0.7 * np.eye(11))[
        np.ix_(column, column)
    ]
    np.testing.assert_allclose(
        got[labelled], np.linalg.solve(covariance, y[labelled]), rtol=1e-6, atol=1e-6
    )
    assert not got[~labelled].any()


def test_truncation_moves_no_prediction_by_more_than_it_says():
    k_t, k_s, rng = kernels()
    a = rng.normal(size=(17, 11))
    exact = k_t @ a @ k_s
    for rank in (1, 3, 6):
        low = truncate(a, k_t, k_s, tolerance=0.0, max_rank=rank)
        assert low.targets.shape == (17, rank)
        off = np.abs(k_t @ low.targets @ low.sources.T @ k_s - exact).max()
        assert 0.0 < off <= low.error_bound
    full = truncate(a, k_t, k_s, tolerance=0.0, max_rank=11)
    np.testing.assert_allclose(k_t @ full.targets @ full.sources.T @ k_s, exact, atol=1e-9)


def test_rank_is_the_lowest_that_keeps_the_tolerance():
    k_t, k_s, rng = kernels()
    a = np.outer(rng.normal(size=17), rng.normal(size=11))
    low = truncate(a, k_t, k_s, tolerance=1e-6, max_rank=11)
    assert low.targets.shape[1] == 1
    assert low.error_bound <= 1e-6


def unseen(planted) -> tuple[slice, slice]:
    return slice(40, 60), slice(100, 120)


def test_interaction_is_learned_for_samples_never_labelled(planter):
    planted = planter.interaction(noise=0.1)
    estimator = kernel_ridge.fit(planted.pairs, planted.features, seed=0)
    rows, columns = unseen(planted)
    x = planted.features.values
    predicted, truth = estimator.predict(x[rows], x[columns]), planted.truth[rows, columns]
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.8


def test_rows_are_targets_also_where_the_matrix_is_not_square(planter):
    planted = planter.interaction()
    estimator = kernel_ridge.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    predicted = estimator.predict(x[:40], x[60:75])
    assert predicted.shape == (40, 15)
    truth = planted.truth[:40, 60:75]
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.9
    turned = estimator.predict(x[60:75], x[:40]).T
    assert np.corrcoef(turned.ravel(), truth.ravel())[0, 1] < 0.9


def test_renumbering_the_samples_changes_no_prediction(planter):
    planted = planter.interaction(noise=0.1)
    settings = kernel_ridge.Settings()
    order = np.random.default_rng(1).permutation(len(planted.features))
    place = np.argsort(order)
    renumbered = Features.of(
        {name: planted.features.block(name)[order] for name in planted.features.names}
    )
    moved = SeedPairs(
        place[planted.pairs.targets], place[planted.pairs.sources], planted.pairs.values
    )
    one = kernel_ridge.fit(planted.pairs, planted.features, seed=0, settings=settings)
    other = kernel_ridge.fit(moved, renumbered, seed=0, settings=settings)
    x = planted.features.values
    np.testing.assert_allclose(one.predict(x, x), other.predict(x, x), atol=2e-4)


def test_the_same_seed_gives_the_same_bits(planter):
    planted = planter.interaction(noise=0.1)
    x = planted.features.values
    one, other = (kernel_ridge.fit(planted.pairs, planted.features, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.predict(x, x), other.predict(x, x))
    assert one.facts == other.facts


def test_equal_labels_are_predicted_as_they_are(planter):
    planted = planter.block(np.full((120, 120), 0.25))
    estimator = kernel_ridge.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    np.testing.assert_allclose(estimator.predict(x, x), 0.25, atol=1e-6)


def test_a_big_design_with_holes_is_solved_to_its_tolerance(planter):
    planted = planter.interaction(noise=0.1)
    few = planted.pairs.take(np.random.default_rng(0).random(len(planted.pairs)) < 0.3)
    facts = kernel_ridge.fit(few, planted.features, seed=0).facts
    assert facts["solver_residual"] <= 1e-4
    assert facts["labels"]["pairs"] == len(few)


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_noisier_labels_are_never_fitted_with_less_ridge(planter, noise):
    planted = planter.interaction(noise=noise)
    facts = kernel_ridge.fit(planted.pairs, planted.features, seed=0).facts
    strength = facts["target_ridge"] * facts["source_ridge"]
    assert strength >= 1.0 if noise else strength <= 0.1
