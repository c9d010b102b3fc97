from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
from regression_learner import LogisticRegression, checkpoint, fit_logistic, sample, samples
from scipy.stats import spearmanr

from influence_store.errors import Incompatible, InputError
from influence_store.influence.trak import Trak, inverse_gram, margin_features
from influence_store.schema.identity import fingerprint
from influence_store.schema.sample import Sample

THETA = np.array([0.7, -0.4, 0.2])


def planted(n, seed=0, d=3, strength=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    logits = strength * X @ np.arange(1.0, d + 1)
    y = np.where(rng.random(n) < 1.0 / (1.0 + np.exp(-logits)), 1.0, -1.0)
    return X, y


def made(X, y, thetas=(THETA,), **more):
    learner, rows = LogisticRegression(X.shape[1]), samples(X, y)
    given = {"fit": rows, "dim": None, "damping": 0.0, **more}
    return Trak(learner, [checkpoint(theta) for theta in thetas], **given), rows


def scores(trak, targets, sources):
    return trak.vectors(targets, "target").vectors @ trak.vectors(sources, "source").vectors.T


def by_hand(X, y, thetas, targets, damping=0.0):
    """The formula with what is known of a logistic regression: ∇ log(p / (1 − p)) = y x."""
    d = X.shape[1]
    phi = y[:, None] * X
    gram = phi.T @ phi
    inverse = np.linalg.inv(gram + damping * np.trace(gram) / d * np.eye(d))
    miss = np.mean([1.0 / (1.0 + np.exp(y * (X @ theta))) for theta in thetas], axis=0)
    return phi[targets] @ inverse @ phi.T * miss


def test_oracle_of_three_rows_against_a_brute_inverse():
    phi, x = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 1.0])
    miss = np.array([0.5, 0.1, 0.4])
    found = x @ inverse_gram(phi, 0.0) @ phi.T * miss
    assert found == pytest.approx([0.2222, 0.0222, 0.2222], abs=5e-5)
    assert found == pytest.approx(x @ np.linalg.inv(phi.T @ phi) @ phi.T * miss, rel=1e-12)


@pytest.mark.parametrize("y", [1.0, -1.0])
def test_margin_gradient_is_the_loss_gradient_over_the_miss(y):
    learner, x = LogisticRegression(3), np.array([1.0, 2.0, -0.5])
    with learner.at(checkpoint(THETA)):
        reading = learner.read(sample(x, y))
        (gradient,) = learner.gradients([reading])
        loss = -learner.stats([reading])[0].logp
    found = margin_features(gradient[None], loss)
    assert found.phi[0] == pytest.approx(y * x, rel=1e-5)
    assert found.miss[0] == pytest.approx(1.0 / (1.0 + np.exp(y * (THETA @ x))), rel=1e-5)


def test_features_belong_to_the_margin_of_the_mean_token():
    """Finite differences of log(p̄ / (1 − p̄)) for a loss that is a mean over tokens."""
    tokens = np.array([[1.0, 0.3], [-0.4, 0.8], [0.2, 0.1]])

    def loss(theta):
        return float(np.mean(np.logaddexp(0.0, -tokens @ theta)))

    def margin(theta):
        return -loss(theta) - np.log(-np.expm1(-loss(theta)))

    theta, h = np.array([0.5, -1.0]), 1e-5
    slope = [(loss(theta + h * e) - loss(theta - h * e)) / (2 * h) for e in np.eye(2)]
    exact = [(margin(theta + h * e) - margin(theta - h * e)) / (2 * h) for e in np.eye(2)]
    found = margin_features(np.array([slope]), np.array([loss(theta)]))
    assert found.phi[0] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("thetas", [(THETA,), (THETA, -2.0 * THETA, 0.1 * THETA)])
def test_products_of_vectors_are_the_formula(thetas, damping):
    X, y = planted(20)
    trak, rows = made(X, y, thetas, damping=damping)
    found = scores(trak, rows[:4], rows)
    assert found == pytest.approx(by_hand(X, y, thetas, slice(4), damping), rel=1e-4, abs=1e-7)
    assert found.shape == (4, 20)
    assert trak.dim == 3 * len(thetas)


def test_scores_follow_what_leaving_rows_out_does_to_the_margin():
    # The weaker the model, the more equal p (1 − p), which TRAK leaves out of its inverse.
    X, y = planted(60, seed=1, strength=0.2)
    penalty = 1e-3
    theta = fit_logistic(X, y, penalty)
    test_x, test_y = planted(5, seed=2)
    trak, rows = made(X, y, [theta])
    found = scores(trak, samples(test_x, test_y), rows)
    for i in range(len(test_x)):
        drop = [
            test_y[i] * test_x[i] @ (theta - fit_logistic(X[keep], y[keep], penalty))
            for keep in (np.arange(60) != j for j in range(60))
        ]
        assert spearmanr(found[i], drop).statistic > 0.9


def test_row_that_does_not_fit_or_has_no_response_is_nan_not_zero():
    X, y = planted(10)
    trak, rows = made(X, y)
    found = trak.vectors([sample([1.0] * 4, 1.0), rows[0], Sample.of("1 1 1", "")], "source")
    assert np.isnan(found.vectors).all(axis=1).tolist() == [True, False, True]
    assert found.truncated.tolist() == [True, False, False]


def test_certain_sample_has_no_margin_and_does_not_spoil_the_fit(caplog):
    X, y = planted(20)
    certain = np.array([2000.0, 0.0, 0.0])
    assert -np.logaddexp(0.0, -certain @ THETA) == 0.0
    trak, rows = made(np.vstack([X, certain]), np.append(y, 1.0))
    clean, _ = made(X, y)
    with caplog.at_level(logging.WARNING):
        found = trak.vectors(rows, "target").vectors
    assert np.isnan(found).any(axis=1).tolist() == [False] * 20 + [True]
    assert found[:20] == pytest.approx(clean.vectors(rows[:20], "target").vectors)
    assert "1 margins of 21 rows" in caplog.text


def test_row_does_not_depend_on_the_others_of_the_call():
    X, y = planted(12)
    trak, rows = made(X, y)
    for side in ("target", "source"):
        together = trak.vectors(rows, side).vectors
        assert np.allclose(trak.vectors(rows[5:6], side).vectors[0], together[5], rtol=1e-6)


def test_fitted_state_survives_copying():
    X, y = planted(12)
    trak, rows = made(X, y)
    before = scores(trak, rows, rows)
    passes = trak.ledger.llm_passes
    again = copy.deepcopy(trak)
    assert np.array_equal(scores(again, rows, rows), before)
    assert again.ledger.llm_passes - passes == 2 * 2 * 12


def test_projected_scores_come_close_to_exact_ones():
    # Fit rows span few dimensions of a wide model, as gradients do.
    rng = np.random.default_rng(5)
    basis = rng.standard_normal((4, 600)) / np.sqrt(600)
    X = rng.standard_normal((80, 4)) @ basis
    y = np.sign(rng.standard_normal(80))
    exact, rows = made(X, y, [np.zeros(600)], damping=0.01)
    rough, _ = made(X, y, [np.zeros(600)], damping=0.01, dim=256)
    # λ is relative to a mean over all dimensions, so the wide model's is smaller by 600 / 256.
    a, b = scores(exact, rows[:10], rows), scores(rough, rows[:10], rows)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_too_few_rows_to_fit_are_refused_at_once():
    X, y = planted(2)
    with pytest.raises(ValueError, match="2 rows to fit cannot span 3 dimensions: use dim=2"):
        made(X, y)
    made(X, y, damping=0.1)


def test_rows_that_span_too_little_are_refused():
    X = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, 3.0])
    trak, rows = made(X, np.ones(8))
    with pytest.raises(Incompatible, match="span fewer than 3 dimensions"):
        trak.vectors(rows, "target")


def test_no_readable_row_to_fit_is_refused():
    with pytest.raises(InputError, match="0 of 1 fit can be read"):
        Trak(LogisticRegression(1), [checkpoint([0.1])], fit=[Sample.of("1", "")])


def test_negative_damping_is_refused():
    with pytest.raises(ValueError, match="damping is -1"):
        made(*planted(5), damping=-1.0)


def test_everything_that_decides_a_vector_is_in_the_facts():
    X, y = planted(12, d=5)
    rows = samples(X, y)
    theta = np.zeros(5)

    def name(thetas=(theta,), **more):
        return fingerprint(made(X, y, thetas, **{"dim": 4, **more})[0].facts)

    changes = [
        {"thetas": (theta + 1.0,)},
        {"thetas": (theta, theta)},
        {"fit": rows[:11]},
        {"dim": 3},
        {"damping": 0.2},
        {"seed": 1},
    ]
    names = [name()] + [name(**change) for change in changes]
    assert len(set(names)) == len(names)


@pytest.mark.llm
def test_real_llm_finds_each_row_to_be_its_own_best_source(small, short_samples):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(small, rank=2, target_modules=("v_proj",), max_response_tokens=8)
    rows = short_samples[:4]
    trak = Trak(learner, [checkpoint(learner.weights())], fit=rows, dim=64)
    found = scores(trak, rows, rows)
    assert found.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (np.diag(found) > 0.0).all()
