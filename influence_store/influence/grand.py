"""GraNd: how strongly does a sample pull at the weights?

    grand    = mean_k ‖∇ℓ(z; θ_k)‖₂ ≥ 0           (arXiv 2107.07075 Def. 2.1)
    grand-sd = standard deviation over k (n − 1), NaN for a single checkpoint

Higher = harder; the extreme top is often noise. The paper averages over about ten initial weights,
each trained for a few epochs: hand over one early checkpoint of each of several runs for that, or
the early checkpoints of one run as a cheaper stand-in. θ is what is trainable (LoRA or last
layers), ℓ the mean over gold tokens; with a sum, long responses would come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from influence_store.influence.batch import gradient_norms, read_all, spread
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import PointValues
    from influence_store.schema.sample import Sample


class GraNd(CheckpointMethod):
    """Gradient norm over checkpoints; what it says of late checkpoints is near 0 for all."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="grand",
        outputs=("grand", "grand-sd"),
        higher_means="harder",
        paper="arXiv:2107.07075",
        kind="pointwise",
        needs=("checkpoints",),
        bounds=(0.0, float("inf")),
    )

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Mean and spread of the norm per sample; NaN where it could not be read."""
        batch = read_all(self.learner, samples)
        norms = gradient_norms(self.learner, self.checkpoints, batch)
        return batch.values({"grand": norms.mean(axis=0), "grand-sd": spread(norms)})
