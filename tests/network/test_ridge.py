from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import ridge
from influence_store.network.features import Features, scaling
from influence_store.network.ridge import STRENGTHS, kernel_ridge, linear_ridge
from influence_store.schema.estimator import through

RNG = np.random.default_rng(1)


def features(n: int = 40, dim: int = 6) -> Features:
    return Features.of(
        {"embedding": RNG.normal(size=(n, dim)).astype("f"), "lengths": RNG.normal(size=(n, 2))}
    )


def rows(read: Features, which: np.ndarray) -> Features:
    return Features(read.values[which], read.names, read.dims)


def scaled(read: Features) -> np.ndarray:
    return scaling(read, np.arange(len(read)))(read.values.astype(float))


def by_hand(phi: np.ndarray, y: np.ndarray, strength: float, asked: np.ndarray) -> np.ndarray:
    """Ridge with a free intercept from its normal equations."""
    d = phi.shape[1]
    design = np.hstack([phi, np.ones((len(phi), 1))])
    penalty = strength * np.diag([1.0] * d + [0.0])
    w = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    return np.append(asked, 1.0) @ w


def test_left_out_error_is_that_of_refits_without_the_row():
    read, y = features(), RNG.normal(size=(40, 1))
    found = linear_ridge(y, read)
    phi = scaled(read)
    told = []
    for strength in STRENGTHS:
        rest = [
            float(y[i, 0] - by_hand(np.delete(phi, i, 0), np.delete(y[:, 0], i), strength, phi[i]))
            for i in range(40)
        ]
        told.append(np.mean(np.square(rest)))
    assert found.left_out[0] == pytest.approx(min(told), rel=1e-8)
    assert found.strengths[0] == STRENGTHS[int(np.argmin(told))]


def test_layers_say_what_the_normal_equations_say():
    read = features()
    y = (read.values[:, :1] ** 2 + 0.1 * RNG.normal(size=(40, 1))).astype(float)
    found = linear_ridge(y, read)
    phi = scaled(read)
    expected = [by_hand(phi, y[:, 0], float(found.strengths[0]), row) for row in phi]
    np.testing.assert_allclose(
        through(found.layers, read.values.astype(float))[:, 0], expected, atol=1e-5
    )


def test_with_all_samples_as_centres_it_is_kernel_ridge():
    read, y = features(60), RNG.normal(size=(60, 1))
    y[:, 0] += 3 * np.sin(2 * read.values[:, 0])
    found = kernel_ridge(y, read, seed=0)
    x, strength = scaled(read), float(found.strengths[0])
    kernel = np.exp(-found.gamma * ((x[:, None] - x[None]) ** 2).sum(-1))
    # min ‖y − b − K a‖² + λ aᵀ K a over a and b
    one = np.ones(60)
    inverse = np.linalg.inv(kernel + strength * np.eye(60))
    b = one @ inverse @ y[:, 0] / (one @ inverse @ one)
    expected = kernel @ inverse @ (y[:, 0] - b) + b
    got = through(found.layers, read.values.astype(float))[:, 0]
    # Directions of the kernel below 1e-4 are left out: they hold at most √1e-4 of a prediction.
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_every_output_has_a_strength_of_its_own():
    read = features(80)
    known, noise = read.values[:, :1].astype(float), RNG.normal(size=(80, 1))
    both = linear_ridge(np.hstack([known, noise]), read)
    assert both.strengths[0] < both.strengths[1]
    for column, alone in enumerate((known, noise)):
        single = linear_ridge(alone, read)
        assert both.left_out[column] == pytest.approx(single.left_out[0])


def test_more_samples_than_centres_still_learn_a_curve(monkeypatch):
    monkeypatch.setattr(ridge, "MAX_CENTRES", 30)
    read = features(200, 2)
    y = np.sin(2 * read.values[:, :1].astype(float))
    found = kernel_ridge(y, read, seed=0)
    assert found.layers[1].centres.shape[0] == 30
    assert found.left_out[0] < 0.5 * y.var()
    assert linear_ridge(y, read).left_out[0] > found.left_out[0]
    same = kernel_ridge(y, read, seed=0)
    np.testing.assert_array_equal(same.layers[2].weight, found.layers[2].weight)
