from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.influence.inverse_hessian import (
    inverse_hessian_product,
    spectrum_edges,
)


def of(*matrices):
    """A Hessian product over rows that are matrices' positions: H = their mean."""

    def product(rows, vector):
        return np.mean([matrices[k] for k in rows], axis=0).astype(np.float64) @ vector

    return product, list(range(len(matrices)))


def positive(n, seed, least=0.1):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n, n))
    return root @ root.T / n + least * np.eye(n)


def test_scalar_oracle_divides_by_scale():
    hessian, rows = of(np.array([[5.0]]))
    found = inverse_hessian_product(
        hessian, rows, np.ones(1), damping=0.01, scale=25.0, steps=5000, tolerance=1e-9
    )
    assert found.vector * 25.0 == pytest.approx(4.761905, abs=1e-6)
    assert found.vector == pytest.approx(0.190476, abs=1e-6)
    assert found.ridge == pytest.approx(0.25)


@pytest.mark.parametrize("scale", [None, 40.0])
def test_result_is_that_of_a_direct_solver_with_the_same_ridge(scale):
    H = positive(6, seed=1)
    v = np.random.default_rng(2).standard_normal(6)
    found = inverse_hessian_product(*of(H), v, scale=scale, steps=20000, tolerance=1e-6)
    exact = np.linalg.solve(H + found.ridge * np.eye(6), v)
    assert found.vector == pytest.approx(exact, rel=1e-4, abs=1e-5)
    assert found.residual <= 2e-6


def test_measured_scale_is_the_largest_eigenvalue():
    H = positive(6, seed=3)
    found = inverse_hessian_product(*of(H), np.ones(6))
    assert found.scale == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=0.02)


def test_reported_residual_is_that_of_the_returned_vector():
    H = positive(5, seed=4)
    v = np.arange(1.0, 6.0)
    found = inverse_hessian_product(*of(H), v, steps=7)
    left = (H + found.ridge * np.eye(5)) @ found.vector - v
    assert found.steps == 7
    assert found.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(v), rel=1e-4)
    assert found.residual > 1e-3


def test_minibatches_average_to_the_inverse_of_the_mean_hessian():
    matrices = [positive(4, seed=s) for s in range(10, 30)]
    v = np.ones(4)
    args = (*of(*matrices), v)
    found = inverse_hessian_product(*args, scale=20.0, damping=0.05, steps=4000, hessian_batch=5)
    exact = np.linalg.solve(np.mean(matrices, axis=0) + found.ridge * np.eye(4), v)
    assert found.vector == pytest.approx(exact, rel=0.02)
    assert found.residual < 0.03


def test_seed_decides_the_minibatches():
    args = (*of(*[positive(4, seed=s) for s in range(8)]), np.ones(4))
    a, b, c = (
        inverse_hessian_product(*args, steps=30, hessian_batch=2, seed=seed).vector
        for seed in (0, 0, 1)
    )
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


def test_too_small_a_scale_is_an_error_whose_advice_works():
    H = np.diag([1.0, 3.0, 50.0])
    with pytest.raises(Incompatible, match=r"grows.* to 50") as caught:
        inverse_hessian_product(*of(H), np.ones(3), scale=5.0)
    advice = _advice(caught.value.hint)
    assert advice["scale"] >= 50.0
    found = inverse_hessian_product(*of(H), np.ones(3), steps=20000, tolerance=1e-4, **advice)
    assert found.residual <= 1e-3


def test_negative_curvature_is_an_error_whose_advice_works():
    H = np.diag([-4.0, 1.0, 10.0])
    with pytest.raises(Incompatible, match="from about -4 to 10") as caught:
        inverse_hessian_product(*of(H), np.ones(3), steps=5000)
    advice = _advice(caught.value.hint)
    found = inverse_hessian_product(*of(H), np.ones(3), steps=20000, tolerance=1e-4, **advice)
    assert found.ridge > 4.0
    assert found.residual <= 1e-3


def _advice(hint):
    words = hint.removeprefix("try ").split(", ")
    return {key: float(value) for key, value in (word.split("=") for word in words[:2])}


@pytest.mark.parametrize("spectrum", [(0.5, 2.0, 9.0), (-9.0, 1.0, 2.0), (-3.0, -2.0, -1.0)])
def test_edges_of_a_spectrum_are_found_whatever_their_sign(spectrum):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    H = (basis * spectrum) @ basis.T
    low, high = spectrum_edges(lambda u: H @ u, 3)
    # The second one is found after the first has been taken away, by fewer sure digits.
    assert low == pytest.approx(spectrum[0], rel=0.1)
    assert high == pytest.approx(spectrum[-1], rel=0.1)


def test_flat_loss_is_an_error():
    with pytest.raises(Incompatible, match="no curvature"):
        inverse_hessian_product(*of(np.zeros((2, 2))), np.ones(2))


def test_zero_vector_has_a_zero_solution():
    found = inverse_hessian_product(*of(np.eye(2)), np.zeros(2))
    assert not found.vector.any()
    assert found.residual == 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"damping": 0.0}, {"damping": 1.0}, {"scale": 0.0}, {"steps": 0}, {"hessian_batch": 0}],
)
def test_argument_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        inverse_hessian_product(*of(np.eye(2)), np.ones(2), **wrong)
