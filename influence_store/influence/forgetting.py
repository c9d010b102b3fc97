"""Forgetting: how often does training lose a sample that it had learned?

    forgetting(z)               = Σ_k [z was correct at k − 1 and is wrong at k]        0, 1, 2, …
    forgetting-never-learned(z) = 1 if z was never correct, else 0

(arXiv 1812.05159 §2; before the first measurement every sample counts as wrong.) Higher = harder.
A sample that was never learned has been forgotten never or infinitely often, as one likes: the
authors sort it last, and here its `forgetting` is NaN beside the flag. Most samples tie at 0.

The paper looks at every minibatch; here k runs over the checkpoints, and a denser cadence finds
more events: counts compare only where the cadence is the same. A classifier is correct when its
class is; the form for a causal LM is ours: the share of response tokens whose argmax is right
reaches `threshold`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, Flags, Ids, PointValues
    from influence_store.schema.sample import Sample


def forgetting_events(correct: Flags) -> tuple[Ids, Flags]:
    """Changes from correct to wrong (n,), and who was never correct (n,), from `correct` (K, n)."""
    if correct.ndim != 2:
        raise ValueError(f"one row per measurement is needed, (K, n); found {correct.shape}")
    lost = correct[:-1] & ~correct[1:]
    events: Ids = lost.sum(axis=0, dtype=np.int64)
    return events, np.asarray(np.all(~correct, axis=0), np.bool_)


def values_of(correct: Flags) -> dict[str, Doubles]:
    """The method's two outputs (n,) from `correct` (K, n); NaN events where never learned."""
    events, never = forgetting_events(correct)
    return {
        "forgetting": np.where(never, np.nan, events.astype(np.float64)),
        "forgetting-never-learned": never.astype(np.float64),
    }


def check_threshold(threshold: float) -> float:
    """The threshold if it is a share in (0, 1]; ValueError otherwise."""
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; a share of tokens above 0, at most 1")
    return threshold


class Forgetting(CheckpointMethod):
    """Forgetting events over a learner's checkpoints in training order; at least two of them."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="forgetting",
        outputs=("forgetting", "forgetting-never-learned"),
        higher_means="harder",
        paper="arXiv:1812.05159",
        kind="pointwise",
        needs=("checkpoints",),
        bounds=(0.0, float("inf")),
    )

    def __init__(
        self, learner: Learner, checkpoints: Sequence[Checkpoint], *, threshold: float = 0.5
    ) -> None:
        self.threshold = check_threshold(threshold)
        super().__init__(learner, checkpoints, at_least=2, threshold=threshold)
        steps = [checkpoint.step for checkpoint in self.checkpoints]
        if steps != sorted(set(steps)):
            raise ValueError(f"checkpoints of one run in training order are needed, not {steps}")

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Count; NaN where the learner finds nothing to learn or the sample does not fit."""
        batch = read_all(self.learner, samples)
        return batch.values(values_of(self._correct(batch.readings)))

    def _correct(self, readings: Sequence[Reading]) -> Flags:
        correct = np.empty((len(self.checkpoints), len(readings)), np.bool_)
        with progress("forgetting", correct.size, "passes") as advance:
            for row, checkpoint in zip(correct, self.checkpoints, strict=True):
                with self.learner.at(checkpoint):
                    stats = self.learner.stats(readings)
                row[:] = [one.hit.mean() >= self.threshold for one in stats]
                advance(len(row))
        return correct
