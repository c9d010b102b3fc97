"""Which samples lie close enough together to be compared at all? Cells of spherical k-means.

A sample is compared with the members of its own cell and of those next to it. "Next to" goes both
ways: B is searched from A if B is among the `probes` nearest of A or A among those of B. So a pair
is looked at from both of its ends or from none, and rows that arrive later are compared with
exactly those that they would have been compared with from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from influence_store.cores import share
from influence_store.progress import progress

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids

    Ints = npt.NDArray[np.int32]

#: Up to here one cell holds all: every pair is looked at.
EXACT = 20_000
#: Samples per cell; cells that a sample is compared with, its own among them.
CELL_SIZE, PROBES = 500, 8
_STEPS, _SAMPLE_PER_CELL = 6, 32
_ROWS = 4096


@dataclass(frozen=True)
class Cells:
    """Where samples are filed, and what is typical of them; fixed once made from some rows.

    `centroids` (c, d) of length 1, `mean` (d,) of the rows, and how many cells next to a cell are
    searched.
    """

    centroids: Floats
    mean: Floats
    probes: int

    @property
    def n(self) -> int:
        """How many cells there are."""
        return len(self.centroids)

    def of(self, vectors: Floats, threads: int | None = None) -> Ints:
        """The cell of each vector, (n,): that of the nearest centroid, the first of equals."""
        out = np.empty(len(vectors), np.int32)

        def tile(start: int) -> None:
            part = slice(start, start + _ROWS)
            out[part] = np.argmax(vectors[part] @ self.centroids.T, axis=1)
            advance(len(out[part]))

        with threadpool_limits(1, "blas"), progress("cells", len(vectors)) as advance:
            share(tile, range(0, len(vectors), _ROWS), threads=threads)
        return out

    def typical(self, vectors: Floats) -> Floats:
        """The mean similarity of each vector and the rows that the cells were made from, (n,)."""
        from influence_store.selection.neighbours import compiled

        out = np.empty(len(vectors), np.float32)
        compiled.products(vectors, self.mean, out)
        return out

    def searched(self) -> list[Ids]:
        """For each cell those that its members are compared with, itself first."""
        if self.probes >= self.n:
            return [np.roll(np.arange(self.n), -cell) for cell in range(self.n)]
        likeness = self.centroids @ self.centroids.T
        np.fill_diagonal(likeness, np.inf)
        near = np.argsort(-likeness, axis=1, kind="stable")
        linked = np.zeros(likeness.shape, np.bool_)
        np.put_along_axis(linked, near[:, : self.probes], True, axis=1)
        linked |= linked.T
        return [order[linked[cell, order]] for cell, order in enumerate(near)]


def train_cells(
    vectors: Floats, n_cells: int, probes: int, *, seed: int, threads: int | None = None
) -> Cells:
    """`n_cells` centroids from a few Lloyd steps on 32 samples per cell, drawn by `seed`.

    A cell that loses all its samples stays where it is. ValueError unless 1 ≤ n_cells ≤ n.
    """
    if not 1 <= n_cells <= len(vectors):
        raise ValueError(f"{n_cells} cells for {len(vectors)} vectors; expected 1 to as many")
    if probes < 1:
        raise ValueError(f"probes is {probes}; expected at least the sample's own cell, 1")
    rng = np.random.default_rng(seed)
    size = min(len(vectors), _SAMPLE_PER_CELL * n_cells)
    sample = vectors[np.sort(rng.choice(len(vectors), size, replace=False))]
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    cells = Cells(sample[rng.choice(size, n_cells, replace=False)], mean, probes)
    for _ in range(_STEPS if n_cells > 1 else 0):
        of = cells.of(sample, threads)
        cells = replace(cells, centroids=_means(sample, of, cells.centroids))
    return cells


def default_cells(n: int) -> int:
    """One cell up to 20,000 samples, which is exact; then one for every 500."""
    return 1 if n <= EXACT else n // CELL_SIZE


def _means(sample: Floats, cell: Ints, before: Floats) -> Floats:
    """The mean direction of every cell, (c, d); that of `before` where a cell has none."""
    order = np.argsort(cell, kind="stable")
    filled, start = np.unique(cell[order], return_index=True)
    sums = np.add.reduceat(sample[order], start, axis=0, dtype=np.float64)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    means = before.copy()
    known = length[:, 0] > 0
    means[filled[known]] = (sums / np.where(length > 0, length, 1.0))[known]
    return means
