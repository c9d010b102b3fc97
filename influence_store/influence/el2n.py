"""EL2N: how long is the error vector of the model's prediction?

    el2n(x, y) = E_w mean_t ‖p_w(· | x, y_<t) − onehot(y_t)‖₂                      in [0, √2]

(arXiv 2107.07075 Def. 2.2, where E_w is over training runs, early in training.) Higher = harder;
the very top is often mislabelled, so the authors keep a window below it. A class label is one
token, which makes this the paper's form for classifiers; for a causal LM the mean over response
tokens is ours. E_w is the mean over the checkpoints handed in: late ones collapse to 0.

`el2n-token` uses the LLM as it comes instead, and shares its pass with the other methods on
responses; besides the mean it gives the hardest token and the 90th percentile (interpolated).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.influence.batch import read_all, spread
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.formulas import el2n_token
from influence_store.influence.response_pass import Extra, ResponseMethod, ResponseRead
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.learner import Reading
    from influence_store.protocols import Doubles, PointValues
    from influence_store.schema.sample import Sample

_BOUNDS = (0.0, float(np.sqrt(2.0)))


class El2n(CheckpointMethod):
    """EL2N over the checkpoints of a learner; `el2n-sd` is its spread, NaN for one of them."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="el2n",
        outputs=("el2n", "el2n-sd"),
        higher_means="harder",
        paper="arXiv:2107.07075",
        kind="pointwise",
        needs=("checkpoints",),
        bounds=_BOUNDS,
    )

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Measure; NaN where the learner finds nothing to learn or the sample does not fit."""
        batch = read_all(self.learner, samples)
        errors = self._errors(batch.readings)
        return batch.values({"el2n": errors.mean(axis=0), "el2n-sd": spread(errors)})

    def _errors(self, readings: Sequence[Reading]) -> Doubles:
        """Mean error length at every checkpoint, (n_checkpoints, len(readings))."""
        errors = np.empty((len(self.checkpoints), len(readings)), np.float64)
        with progress("el2n", errors.size, "passes") as advance:
            for row, checkpoint in zip(errors, self.checkpoints, strict=True):
                with self.learner.at(checkpoint):
                    stats = self.learner.stats(readings)
                row[:] = [el2n_token(one.logp, one.sum_p2).mean() for one in stats]
                advance(len(row))
        return errors


class El2nToken(ResponseMethod):
    """EL2N of a response under an LLM that was not trained for it; one pass."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="el2n-token",
        outputs=("el2n-token", "el2n-token-max", "el2n-token-p90"),
        higher_means="harder",
        paper="arXiv:2107.07075",
        kind="pointwise",
        needs=("llm",),
        bounds=_BOUNDS,
    )
    reads: ClassVar[frozenset[Extra]] = frozenset({"sum_p2"})

    def values(self, read: ResponseRead) -> Mapping[str, float]:
        """Mean, maximum and 90th percentile over the response's tokens."""
        assert read.sum_p2 is not None
        errors = el2n_token(read.logp, read.sum_p2)
        return {
            "el2n-token": float(errors.mean()),
            "el2n-token-max": float(errors.max()),
            "el2n-token-p90": float(np.quantile(errors, 0.9)),
        }
