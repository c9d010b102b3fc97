"""Which of these samples can a learner measure at its checkpoints, and where do results belong?

A sample that has nothing to learn from, or does not fit, keeps its row: NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.progress import progress
from influence_store.protocols import PointValues, PointVectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, Flags, Floats, Ids
    from influence_store.schema.sample import Sample


@dataclass(frozen=True)
class Batch:
    """n samples as read: the usable `readings` and their `rows`; `n_tokens`, `truncated` (n,)."""

    readings: tuple[Reading, ...]
    rows: Ids
    n_tokens: Ids
    truncated: Flags

    def values(self, measured: Mapping[str, Doubles]) -> PointValues:
        """Give each output's numbers, one per usable reading, their rows back."""
        values = {name: np.full(len(self.n_tokens), np.nan) for name in measured}
        for name, column in measured.items():
            values[name][self.rows] = column
        return PointValues(values, self.n_tokens, self.truncated)

    def vectors(self, measured: Floats) -> PointVectors:
        """The same for vectors, (len(readings), dim) → (n, dim)."""
        vectors = np.full((len(self.n_tokens), measured.shape[1]), np.nan, np.float32)
        vectors[self.rows] = measured
        return PointVectors(vectors, self.n_tokens, self.truncated)


def read_all(learner: Learner, samples: Sequence[Sample]) -> Batch:
    """Let the learner read every sample."""
    readings = [learner.read(sample) for sample in samples]
    usable = np.array([reading.usable for reading in readings], np.bool_)
    return Batch(
        readings=tuple(reading for reading in readings if reading.usable),
        rows=np.flatnonzero(usable).astype(np.int64),
        n_tokens=np.array([len(reading.gold) for reading in readings], np.int64),
        truncated=np.array([reading.truncated for reading in readings], np.bool_),
    )


def gradient_norms(learner: Learner, checkpoints: Sequence[Checkpoint], batch: Batch) -> Doubles:
    """‖∇ℓ‖₂ of every usable reading at every checkpoint, (n_checkpoints, len(batch.readings))."""
    norms = np.empty((len(checkpoints), len(batch.readings)), np.float64)
    with progress("gradient norms", norms.size, "passes") as advance:
        for row, checkpoint in zip(norms, checkpoints, strict=True):
            with learner.at(checkpoint):
                row[:] = learner.gradient_norms(batch.readings)
            advance(len(row))
    return norms


def spread(measured: Doubles) -> Doubles:
    """Sample standard deviation (n − 1) over the first axis; NaN for one measurement."""
    if len(measured) < 2:
        return np.full(measured.shape[1], np.nan)
    return np.asarray(measured.std(axis=0, ddof=1), np.float64)
