"""How is a ridge over pairs solved when its kernel is a product? Its labels left out, its low rank.

Two-step kernel ridge predicts a complete block Y as H_t Y H_s with H = K (K + λI)⁻¹, one smoother
per side. Leaving a row out changes only the target side: the row's own prediction becomes

    L = I − diag(G⁻¹)⁻¹ G⁻¹,   G = K + λI,   L_ii = 0,

so L_t Y H_s knows nothing of a cell's target, H_t Y L_sᵀ nothing of its source, L_t Y L_sᵀ nothing
of either (Stock et al., "Algebraic shortcuts for leave-one-out cross-validation in supervised
network inference", Briefings in Bioinformatics 2018). No fit is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Gains


@dataclass(frozen=True)
class Solution:
    """`weights` (n_targets, n_sources), zero on unlabelled cells; ‖residual‖/‖y‖ reached."""

    weights: Gains
    iterations: int
    residual: float


def solve(
    k_t: Gains,
    k_s: Gains,
    labelled: npt.NDArray[np.bool_],
    values: Gains,
    target_ridge: float,
    source_ridge: float,
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 300,
) -> Solution:
    """V on the labelled cells with [(K_t + λ_t I) V (K_s + λ_s I)]_labelled = values.

    Conjugate gradients, each step two matrix products. The preconditioner is the inverse for the
    complete block, so a complete design is solved exactly in the first step.
    """
    c_t, c_s = k_t + target_ridge * np.eye(len(k_t)), k_s + source_ridge * np.eye(len(k_s))
    inverse_t, inverse_s = np.linalg.inv(c_t), np.linalg.inv(c_s)
    mask = labelled.astype(np.float64)

    residual = values * mask
    size = float(np.linalg.norm(residual))
    weights = np.zeros_like(residual)
    if size == 0.0:
        return Solution(weights, 0, 0.0)
    step = mask * (inverse_t @ residual @ inverse_s)
    slope = float(np.vdot(residual, step))
    direction = step
    iterations = 0
    while iterations < max_iterations and np.linalg.norm(residual) > tolerance * size:
        iterations += 1
        image = mask * (c_t @ direction @ c_s)
        length = slope / float(np.vdot(direction, image))
        weights = weights + length * direction
        residual = residual - length * image
        step = mask * (inverse_t @ residual @ inverse_s)
        previous, slope = slope, float(np.vdot(residual, step))
        direction = step + (slope / previous) * direction
    return Solution(weights, iterations, float(np.linalg.norm(residual)) / size)


@dataclass(frozen=True)
class LeftOut:
    """Each cell (n_targets, n_sources) as predicted by the fit that never saw …

    `target`: any label of its row; `source`: any label of its column; `both`: neither.
    """

    target: Gains
    source: Gains
    both: Gains


def leave_out(
    k_t: Gains, k_s: Gains, values: Gains, target_ridge: float, source_ridge: float
) -> LeftOut:
    """What refitting without each row, column, or row and column would predict for it.

    `values` (n_targets, n_sources) is a complete block of at least 2 × 2, ridges are above 0. As
    in `kernel_ridge.fit`, a fit works on what differs from the mean of the labels *it* sees.
    """
    h_t, l_t = _smoothers(k_t, target_ridge)
    h_s, l_s = _smoothers(k_s, source_ridge)
    n, m = values.shape
    row, column = values.sum(1, keepdims=True), values.sum(0, keepdims=True)
    total = float(values.sum())

    def predicted(on_targets: Gains, on_sources: Gains, mean: Gains) -> Gains:
        """A (Y − mean) Bᵀ + mean, where every cell has a mean of its own."""
        kept = np.outer(on_targets.sum(1), on_sources.sum(1))
        cells: Gains = on_targets @ values @ on_sources.T + mean * (1.0 - kept)
        return cells

    return LeftOut(
        target=predicted(l_t, h_s, (total - row) / ((n - 1) * m)),
        source=predicted(h_t, l_s, (total - column) / (n * (m - 1))),
        both=predicted(l_t, l_s, (total - row - column + values) / ((n - 1) * (m - 1))),
    )


@dataclass(frozen=True)
class LowRank:
    """A ≈ targets @ sourcesᵀ, (n_targets, rank) and (n_sources, rank).

    No prediction of any sample, seen or not, moves by more than `error_bound` when both kernels
    are at most 1 on the diagonal.
    """

    targets: Gains
    sources: Gains
    error_bound: float


def truncate(a: Gains, k_t: Gains, k_s: Gains, *, tolerance: float, max_rank: int) -> LowRank:
    """The best approximation of the *function* k_t(x)ᵀ A k_s(x') at the lowest rank that will do.

    In feature space the function is the operator B = K_t^½ A K_s^½; the largest singular value
    left out bounds the change of every prediction. Factors are written without inverse roots, so
    small eigenvalues do no harm.
    """
    root_t, root_s = _half(k_t), _half(k_s)
    u, sigma, vt = np.linalg.svd(root_t.T @ a @ root_s, full_matrices=False)
    wanted = int((sigma > tolerance).sum())
    rank = max(1, min(wanted, max_rank))
    left_out = float(sigma[rank]) if rank < len(sigma) else 0.0
    scale = np.where(sigma[:rank] > 0, 1.0 / np.sqrt(np.maximum(sigma[:rank], 1e-300)), 0.0)
    return LowRank(
        targets=(a @ root_s @ vt[:rank].T) * scale,
        sources=(a.T @ root_t @ u[:, :rank]) * scale,
        error_bound=left_out,
    )


def _smoothers(kernel: Gains, ridge: float) -> tuple[Gains, Gains]:
    """H, which predicts a label from all, and L, which predicts it from the others."""
    identity = np.eye(len(kernel))
    inverse = np.linalg.inv(kernel + ridge * identity)
    from_all: Gains = identity - ridge * inverse
    from_others: Gains = identity - inverse / np.diag(inverse)[:, None]
    return from_all, from_others


def _half(kernel: Gains) -> Gains:
    """R with R Rᵀ = kernel."""
    eigenvalues, vectors = np.linalg.eigh(kernel)
    half: Gains = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    return half
