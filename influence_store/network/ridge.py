"""Ridge with many outputs, linear or on Gaussian kernels, each strength by leave-one-out error.

    w = argmin ‖y − b − Φ w‖² + λ ‖w‖²,      y_i − ŷ_{−i} = (y_i − ŷ_i) / (1 − h_ii)

with b not penalised and h the hat matrix: the left-out error costs no refit (Allen 1974,
Technometrics 16). For Gaussian kernels Φ(x) = k(x, C) K_CC^{−1/2} over centres C; with all samples
as centres that is kernel ridge exactly, with some of them the Nyström form (Williams and Seeger
2001), so a tower never has more than MAX_CENTRES of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import scaling
from influence_store.schema.estimator import Affine, RadialBasis, through

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import Layer

STRENGTHS = tuple(float(10.0 ** (k / 2)) for k in range(-4, 9))
#: γ of exp(−γ ‖x − c‖²) per unit of mean squared norm (1 per block of features).
WIDTHS = (0.25, 0.5, 1.0, 2.0)
MAX_CENTRES = 512
_EIGENVALUE = 1e-4


@dataclass(frozen=True)
class Smoother:
    """Layers from features (n, d) to outputs (n, k); `left_out` (k,) are mean squared errors.

    `strengths` (k,) is λ of each output, `gamma` the kernel's, None where linear.
    """

    layers: tuple[Layer, ...]
    left_out: Gains
    strengths: Gains
    gamma: float | None = None


def linear_ridge(y: Gains, features: Features) -> Smoother:
    """Outputs y (n, k) on the scaled features of the same n rows."""
    scale = scaling(features, np.arange(len(features)))
    x = scale(features.values.astype(np.float64))
    weights, bias, left_out, strengths = left_out_ridge(x, y)
    return Smoother((scale, _affine(weights, bias)), left_out, strengths)


def kernel_ridge(y: Gains, features: Features, *, seed: int) -> Smoother:
    """The same on Gaussian kernels, of the width with the least error over all outputs."""
    scale = scaling(features, np.arange(len(features)))
    x = scale(features.values.astype(np.float64))
    order = np.random.default_rng(seed).permutation(len(x))
    centres = x[np.sort(order[:MAX_CENTRES])]
    tried = [_kernel_ridge(x, y, centres, width / len(features.names)) for width in WIDTHS]
    best = min(tried, key=lambda one: float(one.left_out.sum()))
    return Smoother((scale, *best.layers), best.left_out, best.strengths, best.gamma)


def _kernel_ridge(x: Gains, y: Gains, centres: Gains, gamma: float) -> Smoother:
    basis = RadialBasis(centres.astype(np.float32), gamma)
    eigenvalues, vectors = np.linalg.eigh(basis(centres))
    # What lies below cannot be told from rounding in the float32 of the tower.
    kept = eigenvalues > _EIGENVALUE
    root = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    weights, bias, left_out, strengths = left_out_ridge(through((basis,), x) @ root, y)
    return Smoother((basis, _affine(root @ weights, bias)), left_out, strengths, gamma)


def left_out_ridge(phi: Gains, y: Gains) -> tuple[Gains, Gains, Gains, Gains]:
    """Weights (d, k), bias (k,), left-out mean squared error (k,) and strength (k,)."""
    centre, level = phi.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd(phi - centre, full_matrices=False)
    along = u.T @ (y - level)
    errors = []
    for strength in STRENGTHS:
        kept = s**2 / (s**2 + strength)
        leverage = np.minimum((u**2) @ kept + 1.0 / len(y), 1.0 - 1e-9)
        rest = (y - level - u @ (kept[:, None] * along)) / (1.0 - leverage)[:, None]
        errors.append((rest**2).mean(0))
    best = np.argmin(errors, axis=0)
    strengths = np.asarray(STRENGTHS)[best]
    shrunk = s[:, None] / (s[:, None] ** 2 + strengths)
    weights = vt.T @ (shrunk * along)
    return weights, level - centre @ weights, np.min(errors, axis=0), strengths


def _affine(weights: Gains, bias: Gains) -> Affine:
    return Affine(weights.astype(np.float32), bias.astype(np.float32))
