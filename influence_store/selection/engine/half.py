"""How is a symmetric kernel held in half the memory?

By the tiles of its upper half, each contiguous; a value below the diagonal is read from its mirror
image above. Half the memory is written, and read again at every pass. A single column lies
scattered over a row and a column of tiles, so columns are asked for many at a time.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from influence_store.cores import share
from influence_store.selection.engine import half_loops
from influence_store.selection.tiles import is_everything

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Doubles, Floats, Ids

T = TypeVar("T", bound="np.generic")

#: Rows of a tile at most: large enough for BLAS, small enough to stay in the cache once written.
_TILE = 1024
_LINE = 16
_HANDS = 8


class HalfView:
    """S (n, n) with S[i, j] = S[j, i], its values on the grid of `scale` (selection/grid.py).

    `tiles` (n_tiles, size, width) hold S[r : r + size, c : c + size] for the `corners` (n_tiles, 2)
    (r, c), c ≥ r, row by row; those of the diagonal are held whole. What lies beyond n, and beyond
    `size`, has no meaning. `low` is the smallest value; `totals` (n,), where known, are no smaller
    than Σ_i S[i, j].
    """

    def __init__(self, n: int, scale: float, totals: Doubles | None = None) -> None:
        """Room for n × n values, to be written tile by tile, and `low` with them."""
        self.n, self.scale, self.low, self.totals = n, scale, -scale, totals
        tiles, self.size, width = _layout(n)
        firsts = range(0, n, self.size)
        self.corners = np.array([(r, c) for r in firsts for c in firsts if c >= r], np.int64)
        self.tiles = np.empty((tiles, self.size, width), np.float32)

    @staticmethod
    def bytes_of(n: int) -> int:
        """What n × n values take."""
        return 4 * prod(_layout(n))

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.n, self.n

    def tile(self, which: int) -> tuple[slice, slice, Floats]:
        """Rows and columns of a tile, and its values (rows, columns), to be read or written."""
        r, c = self.corners[which].tolist()
        rows, columns = (slice(first, min(first + self.size, self.n)) for first in (r, c))
        return rows, columns, self.tiles[which, : rows.stop - r, : columns.stop - c]

    def strip(self, sources: Ids) -> Floats:
        """S[sources], (len(sources), n)."""
        return strip_of(self.tiles, self.n, sources)

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols, gathered along the shorter side."""
        if len(rows) < len(cols):
            return _pick_columns(self.strip(rows), cols)
        return _pick_columns(self.strip(cols), rows).T

    def put(self, sources: Ids, values: Floats) -> None:
        """S[sources] = S[:, sources]ᵀ = `values` (len(sources), n), for ascending sources."""
        for which in range(len(self.corners)):
            rows, columns, tile = self.tile(which)
            mine = slice(*np.searchsorted(sources, (rows.start, rows.stop)))
            tile[sources[mine] - rows.start] = values[mine, columns]
            mine = slice(*np.searchsorted(sources, (columns.start, columns.stop)))
            tile[:, sources[mine] - columns.start] = values[mine, rows].T

    def put_diagonal(self, values: Floats) -> None:
        """S[i, i] = values[i]."""
        for which in range(len(self.corners)):
            rows, columns, tile = self.tile(which)
            if rows == columns:
                np.fill_diagonal(tile, values[rows])
        self._changed()

    def raise_to(self, floor: float) -> None:
        """Every smaller value becomes `floor`, which lies on the grid."""
        for which in range(len(self.corners)):
            tile = self.tile(which)[2]
            np.maximum(tile, np.float32(floor), out=tile)
        self._changed()

    def _changed(self) -> None:
        self.totals = None
        self.low = min(float(self.tile(k)[2].min()) for k in range(len(self.corners)))


def dealt(n_tiles: int) -> list[Ids]:
    """The tiles in up to 8 hands, each of every region of the matrix: work for several threads."""
    return [np.arange(k, n_tiles, _HANDS) for k in range(min(_HANDS, n_tiles))]


def strip_of(tiles: npt.NDArray[T], n: int, sources: Ids) -> npt.NDArray[T]:
    """S[sources], (len(sources), n), copied on all cores from the tiles of its upper half."""
    out = np.empty((len(sources), n), tiles.dtype)

    def piece(first: int) -> None:
        part = slice(first, first + _LINE)
        half_loops.gather(tiles, sources[part], out[part])

    share(piece, range(0, len(sources), _LINE))
    return out


def _layout(n: int) -> tuple[int, int, int]:
    """How many tiles, the rows of each and its width in memory."""
    size = -(-n // (-(-n // _TILE) * _LINE)) * _LINE
    blocks = -(-n // size)
    # Rows must not lie a power of two apart, or they fight for the same lines of the cache.
    return blocks * (blocks + 1) // 2, size, size + (_LINE if size % 64 == 0 else 0)


def _pick_columns(values: Floats, which: Ids) -> Floats:
    return values if is_everything(which, values.shape[1]) else values[:, which]
