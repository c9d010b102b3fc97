"""Who are the k nearest of every sample? An index that is computed once and serves every query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.neighbours.cells import PROBES, default_cells, train_cells
from influence_store.selection.neighbours.search import search

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from influence_store.protocols import Floats
    from influence_store.selection.neighbours.search import Lists

    Ints = npt.NDArray[np.int32]

#: 64 suffice from budgets of 1 % on; a budget of n / k leaves most samples without a listed pick.
K = 64


@dataclass(frozen=True)
class Neighbours:
    """The nearest sources of each target, best first, by cosine in [−1, 1]; higher = closer.

    index       (n, k) int32, −1 where there is none
    similarity  (n, k) float32 on multiples of 2⁻²², −inf where there is none
    reach       (n,) float32: no source outside the list was found to be nearer than that
    typical     (n,) float32: the mean similarity to all sources, or to those there were at first
    facts       what decides the lists besides the vectors
    """

    index: Ints
    similarity: Floats
    reach: Floats
    typical: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, lists: Lists, typical: Floats, facts: Mapping[str, Any]) -> Neighbours:
        """With the reach of the lists, each of which must name at least one source."""
        filled = (lists.sources >= 0).sum(axis=1)
        reach = lists.values[np.arange(len(filled)), filled - 1]
        return cls(lists.sources, lists.values, reach, typical, facts)


def build_neighbours(
    vectors: Floats,
    *,
    k: int = K,
    cells: int | None = None,
    probes: int = PROBES,
    seed: int = 0,
    threads: int | None = None,
) -> Neighbours:
    """The index of `vectors` (n, d), float32 rows of length 1; each row is its own first neighbour.

    Exact, ties to the lowest position, where `probes` is no smaller than `cells`: by default up to
    20,000 rows. Above, rows further away than the nearest cells are not looked at. The same on any
    number of threads. Fewer than k are listed
    where there are fewer. ValueError for rows that are not of length 1, or k < 1.
    """
    check_unit(vectors)
    n = len(vectors)
    if k < 1:
        raise ValueError(f"k is {k}; expected at least one neighbour")
    trained = train_cells(vectors, cells or default_cells(n), probes, seed=seed, threads=threads)
    cell = trained.of(vectors, threads)
    found = search(vectors, cell, trained, np.arange(n), k, threads=threads)
    facts = {"k": k, "cells": trained.n, "probes": probes, "seed": seed}
    return Neighbours.of(found.lists, trained.typical(vectors), facts)


def check_unit(vectors: Floats) -> None:
    """ValueError unless `vectors` are (n, d) float32, n > 0, every row of length 1."""
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not len(vectors):
        raise ValueError(
            f"found {vectors.dtype} of shape {vectors.shape}; expected float32 (n, d), n > 0"
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = ~(np.abs(lengths - 1.0) < 1e-3)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{int(wrong.sum())} vectors are not of length 1, the first at position {first} with "
            f"{lengths[first]:.4g}; expected normalised embeddings"
        )
