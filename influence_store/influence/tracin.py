"""TracIn: by how much did training on the source lower the target's loss, step by step?

    tracin           S[i, j] = Σ_k η_k ⟨∇ℓ(i; θ_k), ∇ℓ(j; θ_k)⟩  (arXiv 2002.08484, TracInCP)
    gradient-cosine  S[i, j] = mean_k cos(∇ℓ(i; θ_k), ∇ℓ(j; θ_k))         in [−1, 1]
    tracin-self      S[i, i] = Σ_k η_k ‖∇ℓ(i; θ_k)‖² ≥ 0

k runs over checkpoints and η_k is the mean learning rate up to it. Positive = training on j lowers
the loss of i (nats, to first order, for plain gradient descent on j alone). High self-influence =
hard or wrongly labelled. Long and well-learned responses have short gradients: the product favours
samples with large ones, the cosine does not. Products are of projected gradients unless dim=None;
self-influence is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.influence.batch import gradient_norms, read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.gradient_vectors import GradientVectors, learning_rates, unit
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner
    from influence_store.protocols import Doubles, Floats, PointValues, Side
    from influence_store.schema.sample import Sample


class TracIn(GradientVectors):
    """Learning-rate weighted products of gradients; the same vector on both sides."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="tracin",
        outputs=("tracin",),
        higher_means="helpful",
        paper="arXiv:2002.08484",
        kind="bilinear",
        needs=("checkpoints",),
    )

    def _weights(self) -> Doubles:
        return learning_rates(self.checkpoints)

    def _block(self, checkpoint: Checkpoint, gradient: Floats, side: Side) -> Floats:
        return self.project(gradient)


class GradientCosine(GradientVectors):
    """Mean cosine of gradients over checkpoints; NaN for a sample without a gradient."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="gradient-cosine",
        outputs=("gradient-cosine",),
        higher_means="helpful",
        paper="arXiv:2002.08484",
        kind="bilinear",
        needs=("checkpoints",),
        bounds=(-1.0, 1.0),
    )

    def _weights(self) -> Doubles:
        return np.full(len(self.checkpoints), 1.0 / len(self.checkpoints))

    def _block(self, checkpoint: Checkpoint, gradient: Floats, side: Side) -> Floats:
        return unit(self.project(gradient))


class TracInSelf(CheckpointMethod):
    """Self-influence, from exact gradient norms without a projection."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="tracin-self",
        outputs=("tracin-self",),
        higher_means="harder",
        paper="arXiv:2002.08484",
        kind="pointwise",
        needs=("checkpoints",),
        bounds=(0.0, float("inf")),
    )

    def __init__(self, learner: Learner, checkpoints: Sequence[Checkpoint]) -> None:
        super().__init__(learner, checkpoints)
        self.weights = learning_rates(self.checkpoints)

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Σ_k η_k ‖g‖² per sample; NaN where it could not be read."""
        batch = read_all(self.learner, samples)
        norms = gradient_norms(self.learner, self.checkpoints, batch)
        return batch.values({"tracin-self": self.weights @ norms**2})
