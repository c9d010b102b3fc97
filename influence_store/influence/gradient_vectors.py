"""How do gradients at several checkpoints become one vector per sample?

    vectors(z) = concat_k √w_k · R f_k(∇ℓ(z; θ_k)),    S[i, j] = Σ_k w_k ⟨R f_k(i), R f_k(j)⟩

LESS, TracIn and the gradient cosine differ in the weights w and in what f does to a gradient.
Gradients are projected as they come, so a matrix of full-length ones never exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.errors import Incompatible
from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.projection import Projection
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner
    from influence_store.protocols import (
        Doubles,
        Floats,
        InfluenceSpec,
        PointVectors,
        Side,
    )
    from influence_store.schema.sample import Sample


class GradientVectors(CheckpointMethod, ABC):
    """A bilinear method over checkpoints, `width` numbers for each of them.

    `dim` is the width of a checkpoint's projected gradient; None, or more than there are
    parameters, keeps gradients whole. The projection's seed is part of a vector's identity.
    """

    spec: ClassVar[InfluenceSpec]
    symmetric: bool = True

    def __init__(
        self,
        learner: Learner,
        checkpoints: Sequence[Checkpoint],
        *,
        dim: int | None = 1024,
        seed: int = 0,
    ) -> None:
        self.project = Projection(learner.n_parameters, dim, seed=seed)
        super().__init__(learner, checkpoints, **self.project.facts)
        self.width = self.project.dim
        self.dim = len(self.checkpoints) * self.width
        self.weights = self._weights()

    def vectors(self, samples: Sequence[Sample], side: Side) -> PointVectors:
        """One row (dim,) per sample; NaN where it could not be read or has no direction."""
        batch = read_all(self.learner, samples)
        out = np.empty((len(batch.readings), self.dim), np.float32)
        blocks = out.reshape(len(out), len(self.checkpoints), self.width)
        with progress("gradients", len(out) * len(self.checkpoints), "passes") as advance:
            for k, checkpoint in enumerate(self.checkpoints):
                with self.learner.at(checkpoint):
                    gradients = self.learner.gradients(batch.readings)
                    for row, gradient in zip(blocks, gradients, strict=True):
                        _refuse_infinite(gradient, self.learner)
                        row[k] = self._block(checkpoint, gradient, side)
                        advance(1)
        blocks *= np.sqrt(self.weights, dtype=np.float32)[:, None]
        # A direction that is missing at one checkpoint leaves the sum over all undefined.
        out[np.isnan(out).any(axis=1)] = np.nan
        return batch.vectors(out)

    @abstractmethod
    def _weights(self) -> Doubles:
        """w (n_checkpoints,)."""

    @abstractmethod
    def _block(self, checkpoint: Checkpoint, gradient: Floats, side: Side) -> Floats:
        """R f(gradient), (width,)."""


def learning_rates(checkpoints: Sequence[Checkpoint]) -> Doubles:
    """η (n_checkpoints,); ValueError if nothing was learned at any of them."""
    rates = np.array([checkpoint.learning_rate for checkpoint in checkpoints], np.float64)
    if not rates.sum() > 0.0:
        raise ValueError("all checkpoints have learning rate 0, which leaves nothing to weigh")
    return rates


def unit(vector: Floats) -> Floats:
    """The vector over its length; NaN for a zero vector, which has no direction."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return vector / np.float32(length) if length > 0.0 else np.full_like(vector, np.nan)


def _refuse_infinite(gradient: Floats, learner: Learner) -> None:
    if not np.isfinite(gradient).all():
        raise Incompatible(
            f"{learner.name} yields a gradient that is not finite: no value can be trusted",
            hint="load the model with dtype=float32 or bfloat16, or train with a lower rate",
        )
