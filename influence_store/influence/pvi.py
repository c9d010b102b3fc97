"""PVI: how many bits does the prompt tell about the response, to a model that may use it?

    PVI(x → y) = −log₂ g∅(y) + log₂ g(y | x)                  in (−∞, −log₂ g∅(y)], bits

(arXiv 2110.08420 Eq. 4) with g fine-tuned on (x, y) and g∅ on y without its prompt. Higher =
easier; below 0 the prompt made the response less likely, which hints at a wrong label. For a
response of several tokens it is the sum over them, which grows with length; `…-per-token` divides
by T.

Where the two models are one LLM that was not fine-tuned, it is another quantity with another name,
`pvi-zero-shot`: IFD in bits, IFD = 2^(−PVI / T).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod, checked
from influence_store.influence.formulas import pvi_bits
from influence_store.influence.response_pass import Extra, ResponseMethod, ResponseRead
from influence_store.protocols import InfluenceSpec
from influence_store.schema.identity import sample_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, PointValues
    from influence_store.schema.sample import Sample


class Pvi(CheckpointMethod):
    """PVI from a fine-tuned pair: the last of `checkpoints` and the last of `null_checkpoints`.

    A model that saw a sample in training knows its response by heart, which inflates its PVI:
    samples whose id is in `seen` are not scored and come back NaN. Train on one half to score the
    other.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="pvi",
        outputs=("pvi", "pvi-per-token"),
        higher_means="easier",
        paper="arXiv:2110.08420",
        kind="pointwise",
        needs=("checkpoints", "null_checkpoints", "seen"),
    )

    def __init__(
        self,
        learner: Learner,
        checkpoints: Sequence[Checkpoint],
        *,
        null_checkpoints: Sequence[Checkpoint],
        seen: frozenset[bytes],
    ) -> None:
        digest = hashlib.sha256(b"".join(sorted(seen))).hexdigest()
        self.trained = checked(learner, checkpoints)[-1]
        self.null = checked(learner, null_checkpoints)[-1]
        super().__init__(learner, (self.trained, self.null), seen=digest)
        self.seen = seen

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Measure; NaN for seen samples, and where there is nothing to score or no room for it."""
        batch = read_all(self.learner, samples)
        fresh = np.array([sample_id(samples[row]) not in self.seen for row in batch.rows], np.bool_)
        bits = np.full(len(batch.readings), np.nan)
        bits[fresh] = self._bits([batch.readings[k] for k in np.flatnonzero(fresh)])
        return batch.values({"pvi": bits, "pvi-per-token": bits / batch.n_tokens[batch.rows]})

    def _bits(self, readings: Sequence[Reading]) -> Doubles:
        with self.learner.at(self.trained):
            given = self.learner.stats(readings)
        with self.learner.at(self.null):
            alone = self.learner.stats(readings, blind=True)
        pairs = zip(given, alone, strict=True)
        return np.array([pvi_bits(one.logp, other.logp) for one, other in pairs], np.float64)


class PviZeroShot(ResponseMethod):
    """Bits that the prompt tells about the response to an LLM as it comes; two passes."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="pvi-zero-shot",
        outputs=("pvi-zero-shot", "pvi-zero-shot-per-token"),
        higher_means="easier",
        paper="arXiv:2110.08420",
        kind="pointwise",
        needs=("llm",),
    )
    reads: ClassVar[frozenset[Extra]] = frozenset({"alone"})

    def values(self, read: ResponseRead) -> Mapping[str, float]:
        """The sum over the response's tokens, and the mean."""
        assert read.logp_alone is not None
        bits = pvi_bits(read.logp, read.logp_alone)
        return {"pvi-zero-shot": bits, "pvi-zero-shot-per-token": bits / len(read.logp)}
