"""How is a kernel of products written down once, whole, at the speed of a matrix product?

Tiles of a fixed size, one BLAS thread each, several tiles at a time: a value then depends on its
place in the matrix and on nothing else, so the same vectors give the same kernel on one core and
on many. BLAS treats the edge of a tile differently from its middle; rows that hold the same vector
are therefore copied from the first of them, and equal samples tie. The kernel of a set with itself
is computed in its upper half only.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from influence_store.cores import share
from influence_store.progress import progress
from influence_store.selection.engine import compiled

if TYPE_CHECKING:
    from influence_store.protocols import Floats, Ids

_TILE = 1024
#: Rows of a tile must not lie a power of two apart, or they fight for the same lines of the cache.
_PAD = 16
#: Products of vectors that are as long as they can be may exceed the scale by their rounding.
_ROUNDED = 1.0001


def product_matrix(targets: Floats, sources: Floats, scale: float) -> tuple[Floats, float]:
    """⟨source, target⟩ on the grid, (n_sources, n_targets) float32, and the smallest of them.

    `scale` is a power of two no smaller than any product. Pass one array twice for the kernel of
    a set with itself: it is computed once and is symmetric to the last bit.
    """
    symmetric = targets is sources
    largest = float(np.prod([np.linalg.norm(one, axis=1).max() for one in (targets, sources)]))
    if not largest <= _ROUNDED * scale:
        raise ValueError(f"products up to {largest}; expected numbers within ± {scale}")
    out = np.empty((len(sources), len(targets)), np.float32)
    magic, lows = np.float32(3.0 * scale), []
    rows, columns = range(0, len(sources), _TILE), range(0, len(targets), _TILE)
    corners = [(r, c) for r, c in product(rows, columns) if c >= r or not symmetric]

    spare: list[Floats] = []

    def tile(corner: tuple[int, int]) -> None:
        r, c = corner
        buffer = spare.pop() if spare else np.empty((_TILE, _TILE + _PAD), np.float32)
        left, right = sources[r : r + _TILE], targets[c : c + _TILE]
        values = buffer[: len(left), : len(right)]
        np.matmul(left, right.T, out=values)
        lows.append((values.min() + magic) - magic)
        compiled.settle(values, out[r : r + _TILE, c : c + _TILE], magic)
        if symmetric and r != c:
            out[c : c + _TILE, r : r + _TILE] = values.T
        spare.append(buffer)
        advance(values.size)

    with (
        threadpool_limits(1, "blas"),
        progress("kernel", len(out) * len(targets), "pairs") as advance,
    ):
        share(tile, corners)
    _copy_twins(out, sources, targets)
    return out, float(min(lows))


def _copy_twins(out: Floats, sources: Floats, targets: Floats) -> None:
    """Give rows, and columns, of one and the same vector one and the same values."""
    again, first = _twins(sources)
    out[again] = out[first]
    if targets is not sources:
        again, first = _twins(targets)
    out[:, again] = out[:, first]


def _twins(vectors: Floats) -> tuple[Ids, Ids]:
    """Positions whose vector stood before, and where it stood first."""
    _, inverse, count = np.unique(vectors[:, 0], return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    again, first = [], []
    for k in np.flatnonzero(count[inverse] > 1).tolist():  # those that begin alike
        where = seen.setdefault(vectors[k].tobytes(), k)
        if where != k:
            again.append(k)
            first.append(where)
    return np.array(again, np.int64), np.array(first, np.int64)
