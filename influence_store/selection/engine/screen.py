"""How is coverage by cosine computed exactly, with hardly any exact cosine?

Greedy asks of nearly every pair only that it counts for nothing, and of most gains only that they
are not the largest. A screen answers that: all cosines at 16 bits, one half of the matrix, computed
in whole numbers (engine/whole_numbers.py) at half the time and memory of float32, each with the
same bound on its error. What the screen cannot decide is computed from the two vectors, in float64
and rounded to the grid, wherever the pair stands. So picks and gains are those of exact cosines,
and equal samples tie.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from influence_store.cores import parts, share
from influence_store.progress import progress
from influence_store.selection.engine import screen_loops
from influence_store.selection.engine.half import dealt, strip_of
from influence_store.selection.engine.whole_numbers import (
    ROWS,
    WholeVectors,
    panels_of,
    rounded_products,
)
from influence_store.selection.tiles import pick

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.engine.whole_numbers import Halves, Panels

#: Rows of a tile at most.
_TILE = 21 * ROWS
_ZERO = 1 << 15
#: Cosines of vectors that are 1 long up to rounding: the scale of their grid.
SCALE = 1.0


class ScreenedView:
    """The cosines of samples with one another, exact in `block` and `best`, screened elsewhere.

    `tiles` (n_tiles, size, size) uint16 hold u = 2¹⁵ + S / unit, rounded, for the `corners`
    (n_tiles, 2) (r, c), c ≥ r, row by row; the truth lies within `error` of it, counted in units.
    What lies beyond n has no meaning. `low` is the smallest exact value.
    """

    scale = SCALE

    def __init__(self, vectors: Floats) -> None:
        """Unit rows (n, d) float32."""
        self.vectors, self.n = np.ascontiguousarray(vectors), len(vectors)
        whole = WholeVectors.of(self.vectors)
        self.unit = whole.unit
        # Beside the vectors' rounding that of u (a half) and of the exact value to its grid.
        self.error = ceil(whole.error / self.unit + 0.5 + 2.0**-22 / self.unit)
        n_tiles, self.size = _layout(self.n)
        firsts = range(0, self.n, self.size)
        self.corners = np.array([(r, c) for r in firsts for c in firsts if c >= r], np.int64)
        self.tiles = np.empty((n_tiles, self.size, self.size), np.uint16)
        self.low = self._lowest(self._fill(whole))

    @staticmethod
    def bytes_of(n: int) -> int:
        """What the screen of n × n values takes."""
        tiles, size = _layout(n)
        return 2 * tiles * size**2

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.n, self.n

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The exact values at rows × cols."""
        return cosines_of(self.vectors[cols], pick(self.vectors, rows)).T

    def column_means(self) -> Doubles:
        """mean_i S[i, j] for every j, (n,), but for the rounding of single values."""
        whole, sums = np.zeros(self.vectors.shape[1]), np.empty(self.n)
        screen_loops.add_rows(self.vectors, whole)
        screen_loops.products(self.vectors, whole, sums)
        sums /= self.n
        return sums

    def best(self, sources: Ids) -> Floats:
        """max_{j ∈ sources} S[i, j], exact, for every target, (n,): two passes over the screen."""
        mask = np.zeros(self.n, np.uint16)
        mask[sources] = 2 * _ZERO - 1
        held = self.tiles, self.corners
        hands = dealt(len(self.corners))
        tops = np.zeros((len(hands), self.n), np.uint16)
        share(lambda k: screen_loops.tops(*held, hands[k], mask, tops[k]), range(len(hands)))
        # Those that may be the best, and never what no source reaches.
        close = np.maximum(tops.max(axis=0).astype(np.int32) - 2 * self.error, 1).astype(np.uint16)
        found = np.full((len(hands), self.n), -np.inf, np.float32)

        def look(k: int) -> None:
            screen_loops.best(*held, hands[k], mask, close, self.vectors, found[k])

        share(look, range(len(hands)))
        values: Floats = found.max(axis=0)
        return values

    def strip(self, sources: Ids) -> Halves:
        """What the screen says of S[sources], (len(sources), n)."""
        return strip_of(self.tiles, self.n, sources)

    def floor_of(self, level: Floats) -> Halves:
        """Levels (n,) on the grid as the screen has them: u above it where S may be above it."""
        floors = np.floor(level / np.float64(self.unit)) + (_ZERO - self.error)
        halves: Halves = np.clip(floors, 0, 2 * _ZERO - 1).astype(np.uint16)
        return halves

    @property
    def ceiling(self) -> tuple[np.float32, np.int32]:
        """(a, b) such that no exact value is above a (u + b): one unit is for float32."""
        return np.float32(self.unit), np.int32(self.error + 1 - _ZERO)

    def _fill(self, whole: WholeVectors) -> Ids:
        """Every tile is the work of one thread; the smallest u of each."""
        panels: dict[int, Panels] = {}
        lows = np.empty(len(self.corners), np.int64)

        def make_ready(first: int) -> None:
            panels[first] = panels_of(whole.words[first : first + self.size])

        def fill(which: int) -> None:
            r, c = self.corners[which].tolist()
            tile = self._tile(which)
            rounded_products(panels[r], panels[c], tile)
            lows[which] = tile.min()
            advance(tile.size)

        total = sum(self._tile(k).size for k in range(len(self.corners)))
        with progress("kernel", total, "pairs") as advance:
            share(make_ready, range(0, self.n, self.size))
            share(fill, range(len(self.corners)))
        return lows

    def _lowest(self, lows: Ids) -> float:
        """Of the pairs that may be the smallest all are computed; `lows` are those of the tiles."""
        least = int(lows.min()) + 2 * self.error
        found: list[float] = []

        def look(which: int) -> None:
            rows, columns = (slice(k, k + self.size) for k in self.corners[which].tolist())
            pairs = self._tile(which), self.vectors[rows], self.vectors[columns]
            found.append(screen_loops.lowest(*pairs, least))

        share(look, np.flatnonzero(lows <= least).tolist())
        return min(found)

    def _tile(self, which: int) -> Halves:
        r, c = self.corners[which].tolist()
        tile: Halves = self.tiles[which, : self.n - r, : self.n - c]
        return tile


def cosines_of(sources: Floats, targets: Floats) -> Floats:
    """⟨source, target⟩ of unit rows, exact on the grid, (n_sources, n_targets)."""
    out = np.empty((len(sources), len(targets)), np.float32)
    share(
        lambda part: screen_loops.cosines(sources, targets[part], out[:, part]),
        parts(len(targets), ROWS),
    )
    return out


def _layout(n: int) -> tuple[int, int]:
    """How many tiles, and the rows of each."""
    size = -(-n // (-(-n // _TILE) * ROWS)) * ROWS
    blocks = -(-n // size)
    return blocks * (blocks + 1) // 2, size
