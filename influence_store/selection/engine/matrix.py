"""How is a kernel of products written down once, whole, at the speed of a matrix product?

Tiles of a fixed size, one BLAS thread each, several tiles at a time: a value then depends on its
place in the matrix and on nothing else, so the same vectors give the same kernel on one core and
on many. BLAS treats the edge of a tile differently from its middle; rows that hold the same vector
are therefore copied from the first of them, and equal samples tie. The kernel of a set with itself
is computed, and kept, in its upper half only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from influence_store.cores import share
from influence_store.progress import progress
from influence_store.selection.engine import compiled
from influence_store.selection.engine.half import HalfView
from influence_store.selection.grid import lengths_of

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Ids

    #: Where a tile lies, and where its values go.
    Tile = tuple[slice, slice, Floats]

_TILE = 1024
#: Rows copied to their twins at a time.
_TWINS = 256
#: Products of vectors that are as long as they can be may exceed the scale by their rounding.
_ROUNDED = 1.0001


def product_matrix(targets: Floats, sources: Floats, scale: float) -> tuple[Floats, float]:
    """⟨source, target⟩ on the grid, (n_sources, n_targets) float32, and the smallest of them.

    `scale` is a power of two no smaller than any product.
    """
    out = np.empty((len(sources), len(targets)), np.float32)
    tiles = [
        (slice(r, r + _TILE), slice(c, c + _TILE), out[r : r + _TILE, c : c + _TILE])
        for r in range(0, len(sources), _TILE)
        for c in range(0, len(targets), _TILE)
    ]
    low = _fill(tiles, sources, targets, scale)
    again, first = _twins(sources)
    out[again] = out[first]
    again, first = _twins(targets)
    out[:, again] = out[:, first]
    return out, low


def product_half(vectors: Floats, scale: float, totals: Doubles | None = None) -> HalfView:
    """⟨x, y⟩ of the vectors (n, d) with one another, on the grid; `totals` are handed through."""
    half = HalfView(len(vectors), scale, totals)
    tiles = [half.tile(k) for k in range(len(half.corners))]
    half.low = _fill(tiles, vectors, vectors, scale)
    again, first = _twins(vectors)
    for start in range(0, len(again), _TWINS):
        part = slice(start, start + _TWINS)
        values = half.strip(first[part])
        values[:, again] = values[:, first]
        half.put(again[part], values)
    return half


def _fill(tiles: list[Tile], sources: Floats, targets: Floats, scale: float) -> float:
    """Write ⟨source, target⟩ into every tile; the smallest of them."""
    longest = lengths_of(sources).max()
    other = longest if targets is sources else lengths_of(targets).max()
    largest = float(longest * other)
    if not largest <= _ROUNDED * scale:
        raise ValueError(f"products up to {largest}; expected numbers within ± {scale}")
    magic, lows = np.float32(3.0 * scale), []

    def fill(tile: Tile) -> None:
        rows, columns, values = tile
        np.matmul(sources[rows], targets[columns].T, out=values)
        low = np.full(values.shape[1], np.inf, np.float32)
        compiled.settle(values, magic, low)
        lows.append(low.min())
        advance(values.size)

    with (
        threadpool_limits(1, "blas"),
        progress("kernel", sum(values.size for *_, values in tiles), "pairs") as advance,
    ):
        share(fill, tiles)
    return float(min(lows))


def _twins(vectors: Floats) -> tuple[Ids, Ids]:
    """Positions whose vector stood before, ascending, and where it stood first."""
    _, inverse, count = np.unique(vectors[:, 0], return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    again, first = [], []
    for k in np.flatnonzero(count[inverse] > 1).tolist():  # those that begin alike
        where = seen.setdefault(vectors[k].tobytes(), k)
        if where != k:
            again.append(k)
            first.append(where)
    return np.array(again, np.int64), np.array(first, np.int64)
