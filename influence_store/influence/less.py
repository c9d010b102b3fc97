"""LESS: does training on the source move the model the way the targets want to go?

    S[i, j] = Σ_k η̄_k · cos(R ∇ℓ(i; θ_k), R Γ_k(j))                  (arXiv 2402.04333 §3.1-3.2)
    Γ = m⁺ / √(v⁺ + ε),   m⁺ = β₁ m + (1 − β₁) g,   v⁺ = β₂ v + (1 − β₂) g²

in [−1, 1], higher = j helps i. g = ∇ℓ(j; θ_k) and Adam's moments m, v are those of checkpoint k;
η̄ are the mean learning rates between checkpoints, here scaled to sum 1. Targets keep the plain
gradient. As in the authors' release, ε stands inside the root and the moments carry no bias
correction; the paper writes m̂ / (√v̂ + ε) with both. Projection: see projection.py.

Every Γ shares the momentum β₁ m, so all sources have an offset in common: rank sources of one
target set by S, and do not read much into its sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.influence.gradient_vectors import GradientVectors, learning_rates, unit
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.protocols import Doubles, Floats, Side


class Less(GradientVectors):
    """LESS over warm-up checkpoints; a sample whose gradient is zero has no direction: NaN."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="less",
        outputs=("less",),
        higher_means="helpful",
        paper="arXiv:2402.04333",
        kind="bilinear",
        needs=("checkpoints",),
        bounds=(-1.0, 1.0),
    )
    symmetric = False

    def _weights(self) -> Doubles:
        rates = learning_rates(self.checkpoints)
        return np.asarray(rates / rates.sum(), np.float64)

    def _block(self, checkpoint: Checkpoint, gradient: Floats, side: Side) -> Floats:
        if not gradient.any():
            # With momentum Γ would not be zero, but it would say nothing about this sample.
            return np.full(self.width, np.nan, np.float32)
        wanted = gradient if side == "target" else adam_direction(gradient, checkpoint)
        return unit(self.project(wanted))


def adam_direction(gradient: Floats, checkpoint: Checkpoint) -> Floats:
    """Γ (n_parameters,): where Adam would step next if this were the batch's gradient."""
    beta1, beta2 = checkpoint.beta1, checkpoint.beta2  # floats: 1 − .999 in float32 is off by 4e-5
    m = beta1 * checkpoint.exp_avg + (1.0 - beta1) * gradient
    v = beta2 * checkpoint.exp_avg_sq + (1.0 - beta2) * gradient**2
    return np.asarray(m / np.sqrt(v + checkpoint.epsilon), np.float32)


# -- a target set of several subtasks, each shown by a few examples ("shots") -------------------


def mean_over_shots(scores: Doubles, subtask_of: npt.NDArray[np.generic]) -> Doubles:
    """Scores (n_sources, n_targets) → (n_sources, n_subtasks), subtasks in sorted order.

    Targets that were not measured do not count; a subtask without any is NaN.
    """
    return _means(np.asarray(scores, np.float64).T, subtask_of).T


def max_over_subtasks(per_subtask: Doubles) -> Doubles:
    """(n_sources, n_subtasks) → (n_sources,): a source is as good as it is for its best subtask."""
    return np.asarray(np.fmax.reduce(per_subtask, axis=1), np.float64)


def aggregate(scores: Doubles, subtask_of: npt.NDArray[np.generic]) -> tuple[Doubles, Doubles]:
    """Mean over shots, then max over subtasks (§4): (per_subtask, best).

    `scores` is Sᵀ, (n_sources, n_targets); `subtask_of` (n_targets,) says what each target shows.
    Keep per_subtask: the max cannot be added up over targets.
    """
    per_subtask = mean_over_shots(scores, subtask_of)
    return per_subtask, max_over_subtasks(per_subtask)


def _means(rows: npt.NDArray[np.floating], group_of: npt.NDArray[np.generic]) -> Doubles:
    """Mean of the rows of each group without its NaN entries, (n_groups, …)."""
    if len(group_of) != len(rows):
        raise ValueError(f"{len(group_of)} subtask labels for {len(rows)} targets")
    groups = [np.asarray(rows[group_of == name], np.float64) for name in np.unique(group_of)]
    sums = [np.nansum(group, axis=0) for group in groups]
    counts = [np.sum(~np.isnan(group), axis=0) for group in groups]
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing was measured
        return np.asarray(np.divide(sums, counts), np.float64)
