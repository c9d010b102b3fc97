from __future__ import annotations

import numpy as np
import pytest
from regression_learner import checkpoint
from tiny_encoder import FRUIT, NUMBERS, WORDS, write_tiny_encoder

from influence_store.errors import Incompatible
from influence_store.influence.ekfac import (
    EkFac,
    LayerRow,
    fit_factors,
    mean_eigenvalue,
    whiten,
)
from influence_store.schema.sample import Sample


def layer_rows(n, tokens, width, height, seed=0):
    rng = np.random.default_rng(seed)
    mix_in, mix_out = rng.standard_normal((width, width)), rng.standard_normal((height, height))
    return [
        LayerRow(
            rng.standard_normal((t, width)) @ mix_in, rng.standard_normal((t, height)) @ mix_out
        )
        for t in rng.integers(1, tokens + 1, size=n)
    ]


def product(factors, V, U, damping):
    return float(np.sum(whiten(factors, V, damping) * whiten(factors, U, damping)))


def test_linear_regression_with_one_output_is_exact():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4)) @ rng.standard_normal((4, 4))
    y, theta, damping = rng.standard_normal(50), rng.standard_normal(4), 0.3
    # Labels drawn from the model, y' = θ·x ± 1, leave output gradients of ±1.
    drawn = rng.choice([-1.0, 1.0], size=50)
    factors = fit_factors([LayerRow(x[None], b[None, None]) for x, b in zip(X, drawn, strict=True)])
    gradients = ((X @ theta - y)[:, None] * X)[:, None, :]
    query = gradients[0]
    found = [product(factors, query, g, damping) for g in gradients[1:]]
    inverse = np.linalg.inv(X.T @ X / 50 + damping * np.eye(4))
    assert found == pytest.approx(gradients[1:, 0] @ inverse @ query[0], rel=1e-9)


def test_independent_factors_give_the_full_matrix_inverse():
    """Every a paired with every b: then the Kronecker product is the Fisher matrix itself."""
    rng = np.random.default_rng(1)
    inputs, slopes = rng.standard_normal((9, 3)), rng.standard_normal((7, 2))
    rows = [LayerRow(a[None], b[None]) for a in inputs for b in slopes]
    flat = np.array([row.gradient.ravel() for row in rows])
    fisher = flat.T @ flat / len(flat)
    V, U = rng.standard_normal((2, 2, 3))
    exact = V.ravel() @ np.linalg.solve(fisher + 0.2 * np.eye(6), U.ravel())
    assert product(fit_factors(rows), V, U, 0.2) == pytest.approx(exact, rel=1e-9)


def test_eigenvalues_are_the_best_diagonal_in_their_basis():
    """Λ is the Fisher matrix's diagonal there: its trace is kept, and no diagonal fits better."""
    rows = layer_rows(40, 6, 4, 3)
    factors = fit_factors(rows)
    flat = np.array([row.gradient.ravel() for row in rows])
    fisher = flat.T @ flat / len(rows)
    basis = np.kron(factors.basis_out, factors.basis_in)
    rotated = basis.T @ fisher @ basis
    assert factors.eigenvalues.ravel() == pytest.approx(np.diag(rotated), rel=1e-9)
    assert factors.eigenvalues.sum() == pytest.approx(np.trace(fisher), rel=1e-9)
    # A plain Kronecker product, whose eigenvalues are products, is further from the truth.
    tokens = sum(len(row.inputs) for row in rows)
    A = sum(row.inputs.T @ row.inputs for row in rows) / tokens
    B = sum(row.output_gradients.T @ row.output_gradients for row in rows) / len(rows)
    corrected = basis @ np.diag(factors.eigenvalues.ravel()) @ basis.T
    assert np.linalg.norm(fisher - corrected) < np.linalg.norm(fisher - np.kron(B, A))


def test_bias_is_an_input_that_is_always_one():
    row = LayerRow(np.array([[2.0, 3.0, 1.0], [4.0, 5.0, 1.0]]), np.array([[1.0], [10.0]]))
    assert row.gradient.tolist() == [[42.0, 53.0, 11.0]]


def test_order_and_scale_of_tokens_do_not_matter_to_the_basis():
    rows = layer_rows(20, 4, 3, 2)
    doubled = [LayerRow(3.0 * row.inputs, row.output_gradients) for row in reversed(rows)]
    V, U = np.random.default_rng(2).standard_normal((2, 2, 3))
    found = 9.0 * product(fit_factors(doubled), V, U, 9.0 * 0.1)
    assert found == pytest.approx(product(fit_factors(rows), V, U, 0.1), rel=1e-9)


def test_mean_eigenvalue_is_the_mean_squared_entry_of_gradients():
    rows = layer_rows(20, 4, 3, 2)
    mean_square = np.mean([np.sum(row.gradient**2) for row in rows]) / 6
    assert mean_eigenvalue(fit_factors(rows)) == pytest.approx(mean_square, rel=1e-9)


def test_nothing_to_fit_or_no_damping_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        fit_factors([])
    with pytest.raises(ValueError, match="damping is 0"):
        whiten(fit_factors(layer_rows(2, 2, 2, 2)), np.ones((2, 2)), 0.0)


# -- the method, on a tiny encoder's head and on a tiny LM's adapter ----------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    from influence_store.influence.classifier import EncoderClassifier
    from influence_store.influence.encoder import load_encoder

    folder = write_tiny_encoder(tmp_path_factory.mktemp("ekfac") / "bert")
    return EncoderClassifier(
        load_encoder(folder, device="cpu"), ["fruit", "number"], trainable="head"
    )


def topics(n, seed=0):
    rng = np.random.default_rng(seed)
    words = [(word, "fruit") for word in FRUIT] + [(word, "number") for word in NUMBERS]
    picked = [words[k] for k in rng.integers(0, len(words), size=n)]
    return [
        Sample.of(f"what is {word} or {' '.join(rng.choice(WORDS, 3))}", y) for word, y in picked
    ]


def test_head_at_even_odds_has_the_exact_inverse_hessian(classifier):
    """With two classes at p = ½ every drawn label has the same square, so 𝐆 is the Hessian."""
    n = classifier.n_parameters
    even = checkpoint(np.zeros(n))
    fit, targets, sources = topics(30), topics(4, seed=1), topics(6, seed=2)
    method = EkFac(classifier, [even], fit=fit, dim=None, damping=0.1)
    found = method.vectors(targets, "target").vectors @ method.vectors(sources, "source").vectors.T
    with classifier.at(even):
        readings = [classifier.read(one) for one in fit]
        columns = [classifier.hessian_product(readings, e) for e in np.eye(n, dtype=np.float32)]
        H = np.array(columns, np.float64)
        g_i, g_j = (
            np.array(list(classifier.gradients([classifier.read(one) for one in rows])), np.float64)
            for rows in (targets, sources)
        )
    exact = g_i @ np.linalg.inv(H + 0.1 * np.trace(H) / n * np.eye(n)) @ g_j.T
    assert found == pytest.approx(exact, rel=1e-3, abs=1e-4 * np.abs(exact).max())
    assert found.shape == (4, 6)


def test_fisher_matrix_is_that_of_the_mean_loss(tiny):
    """Its trace, over many draws, is Σ_t tr(J_tᵀ (diag p_t − p_t p_tᵀ) J_t) / T by definition."""
    import torch

    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, rank=2, target_modules=("q_proj",), max_response_tokens=3)
    weights = learner.weights() + np.random.default_rng(0).normal(0, 0.3, learner.n_parameters)
    here = checkpoint(weights)
    one = Sample.of("a", "d e f g h")
    fitted = EkFac(learner, [here], fit=[one] * 50).factors
    with learner.at(here):
        logits = learner.gold_logits([learner.read(one)]).logits
        basis = torch.eye(logits.numel()).view(-1, *logits.shape)
        J = torch.autograd.grad(
            logits, list(learner.trainable.values()), basis, is_grads_batched=True
        )
    J = torch.cat([part.flatten(1) for part in J], dim=1).view(*logits.shape, -1)
    p = logits.detach().softmax(dim=-1)[..., None]
    spread = (p * (J - (p * J).sum(dim=1, keepdim=True)).square()).sum()
    assert len(logits) == 3
    found = sum(factors.eigenvalues.sum() for factors in fitted)
    assert found == pytest.approx(float(spread) / 3, rel=0.3)


def test_strong_damping_leaves_the_product_of_gradients(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, rank=2, max_response_tokens=4)
    rng = np.random.default_rng(0)
    here = checkpoint(learner.weights() + rng.normal(0, 0.3, learner.n_parameters))
    rows = [Sample.of("a b", "c d e"), Sample.of("f g h", "a a"), Sample.of("b", "h g")]
    method = EkFac(learner, [here], fit=rows, dim=None, damping=1e9)
    white = method.vectors(rows, "target").vectors.astype(np.float64)
    with learner.at(here):
        g = np.array(list(learner.gradients([learner.read(row) for row in rows])), np.float64)
    # Every layer is damped by its own mean eigenvalue, so layers are undone one by one.
    total = np.zeros((3, 3))
    start = 0
    for factors in method.factors:
        part = slice(start, start := start + factors.eigenvalues.size)
        total += white[:, part] @ white[:, part].T * 1e9 * mean_eigenvalue(factors)
    assert total == pytest.approx(g @ g.T, rel=1e-4)
    assert start == learner.n_parameters


def test_long_or_unknown_sample_is_nan_not_zero(classifier):
    here = checkpoint(np.zeros(classifier.n_parameters))
    method = EkFac(classifier, [here], fit=topics(8))
    long, unknown = Sample.of("apple " * 99, "fruit"), Sample.of("apple", "colour")
    for side in ("target", "source"):
        found = method.vectors([long, *topics(1), unknown], side)
        assert np.isnan(found.vectors).all(axis=1).tolist() == [True, False, True]
        assert found.truncated.tolist() == [True, False, False]


def test_labels_are_drawn_by_the_seed(classifier):
    rng = np.random.default_rng(3)
    here = checkpoint(rng.normal(0, 0.1, classifier.n_parameters))
    a, b, c = (
        EkFac(classifier, [here], fit=topics(8), seed=seed).factors[0].eigenvalues
        for seed in (0, 0, 1)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_learner_that_trains_more_than_linear_layers_is_refused(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, trainable="last-layer")
    with pytest.raises(Incompatible, match="belong to no linear layer"):
        EkFac(learner, [checkpoint(learner.weights())], fit=[Sample.of("a", "b")])


def test_adapter_without_any_curvature_is_refused(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, rank=2, target_modules=("q_proj",))
    with pytest.raises(Incompatible, match="no curvature"):
        _ = EkFac(learner, [checkpoint(learner.weights())], fit=[Sample.of("a", "b")]).factors
