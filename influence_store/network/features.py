"""What does an estimator know about a sample? Named blocks of columns, side by side.

`embedding` and `lengths` cost nothing beyond the embedding; `llm-hidden` and `llm-scalars` cost
one forward pass of the teacher per sample. Blocks are stored raw; scaling belongs to the towers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import Incompatible, InputError
from influence_store.protocols import Floats, Ids
from influence_store.schema.estimator import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EMBEDDING = "embedding"
LENGTHS = "lengths"
LLM_HIDDEN = "llm-hidden"
LLM_SCALARS = "llm-scalars"


@dataclass(frozen=True)
class Features:
    """A matrix `values` (n_samples, Σ dims) and the names and widths of its blocks, in order."""

    values: Floats
    names: tuple[str, ...]
    dims: tuple[int, ...]

    @classmethod
    def of(cls, blocks: Mapping[str, Floats]) -> Features:
        """Join blocks (n_samples, d_b); InputError if one has other rows or a value not finite."""
        if not blocks:
            raise InputError("no features given; expected at least the block 'embedding'")
        n = len(next(iter(blocks.values())))
        for name, block in blocks.items():
            if block.ndim != 2 or len(block) != n:
                raise InputError(f"block {name!r} has shape {block.shape}, expected ({n}, d)")
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                raise InputError(
                    f"block {name!r} has a value that is not finite in {len(bad)} of {n} rows, "
                    f"first at row {bad[0]}"
                )
        parts = [np.asarray(block, np.float32) for block in blocks.values()]
        dims = tuple(part.shape[1] for part in parts)
        return cls(np.concatenate(parts, axis=1), tuple(blocks), dims)

    def select(self, names: Sequence[str]) -> Features:
        """Only these blocks, in this order; Incompatible names the ones that are missing."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise Incompatible(
                f"features {', '.join(missing)} are needed, found {', '.join(self.names)}"
            )
        return Features.of({name: self.block(name) for name in names})

    def block(self, name: str) -> Floats:
        """The columns of one block, (n_samples, d_b)."""
        start, stop = self.span([name])
        return self.values[:, start:stop]

    def span(self, names: Sequence[str]) -> tuple[int, int]:
        """First column of adjacent blocks, and the column after the last."""
        at = self.names.index(names[0])
        if self.names[at : at + len(names)] != tuple(names):
            raise ValueError(f"{names} do not lie side by side in {self.names}")
        start = sum(self.dims[:at])
        return start, start + sum(self.dims[at : at + len(names)])

    def __len__(self) -> int:
        return len(self.values)


def lengths(prompt: Sequence[int], response: Sequence[int]) -> Floats:
    """The block `lengths` (n, 2): log(1 + length) of prompt and response, in any fixed unit."""
    block: Floats = np.log1p(np.stack([prompt, response], axis=1)).astype(np.float32)
    return block


def scaling(features: Features, seen: Ids) -> Scale:
    """Centre and scale so that every block has mean squared norm 1 over the `seen` rows.

    The embedding is scaled as a whole, which keeps its angles; other blocks column by column.
    Columns that are constant over the seen rows are switched off.
    """
    weights, biases = [], []
    for name in features.names:
        block = features.block(name)[seen].astype(np.float64)
        mean, sd = block.mean(0), block.std(0)
        if name == EMBEDDING:
            weight = np.full(len(mean), 1.0 / max(np.sqrt((sd**2).sum()), 1e-12))
        else:
            alive = sd > 1e-6 * np.maximum(np.abs(mean), 1e-6)
            weight = np.where(alive, 1.0 / np.where(alive, sd, 1.0), 0.0) / np.sqrt(len(sd))
        weights.append(weight)
        biases.append(-mean * weight)
    return Scale(
        np.concatenate(weights).astype(np.float32), np.concatenate(biases).astype(np.float32)
    )
