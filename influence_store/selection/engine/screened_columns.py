"""How does greedy read cosines of which it has a screen? Exactly, and as few as it can."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from influence_store.cores import share
from influence_store.selection.engine import compiled, screen_loops
from influence_store.selection.engine.columns import Pairs, few, places_of
from influence_store.selection.engine.half import dealt
from influence_store.selection.engine.screen import cosines_of

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.engine.screen import ScreenedView
    from influence_store.selection.engine.whole_numbers import Halves


class ScreenedColumns:
    """Columns of a `ScreenedView`, for functions without caps."""

    patience = 0.1

    def __init__(self, view: ScreenedView) -> None:
        self.view, self.n = view, view.n
        self._held = view.tiles, view.corners
        self._parts = dealt(len(view.corners))

    def bounds(self, level: Floats) -> Doubles:
        """Σ_i (S[i, j] − level_i), where no level is above a value."""
        if level.max() > self.view.low:
            return np.full(self.n, np.inf)
        # A value lies on the grid, half a step from the product at most; a step leaves some air.
        totals = self.n * (self.view.column_means() + 2.0**-22)
        bounds: Doubles = np.maximum(totals - level.sum(dtype=np.float64), 0.0)
        return bounds

    def tighter(self, level: Floats) -> Doubles:
        """By the screen, every value as large as it may be."""
        floor = self.view.floor_of(level)
        sums = [np.zeros(self.n) for _ in self._parts]

        def add(k: int) -> None:
            screen_loops.add_bounds(*self._held, self._parts[k], floor, sums[k])

        share(add, range(len(sums)))
        bounds: Doubles = np.sum(sums, axis=0) * self.view.unit
        return bounds

    def gains(self, sources: Ids, level: Floats, cap: Floats) -> Doubles:
        """From exact columns, computed now."""
        out = np.empty(len(sources))
        by_source = cosines_of(self.view.vectors[sources], self.view.vectors)
        compiled.row_gains(by_source, np.arange(len(sources)), level, cap, out)
        return out

    def column(self, source: int) -> Floats:
        """Computed now."""
        row: Floats = cosines_of(self.view.vectors[[source]], self.view.vectors)[0]
        return row

    def share_above(self, level: Floats, _cap: Floats) -> float:
        """By the screen, read from a few columns, gathered once."""
        return float((self._some > self.view.floor_of(level)).mean())

    def pairs(self, level: Floats, _cap: Floats) -> Pairs:
        """Those that may count by the screen, and no value is known yet: target by target."""
        floor, view = self.view.floor_of(level), self.view
        counts = np.empty((-(-self.n // view.size), self.n), np.int64)
        share(lambda part: screen_loops.count_above(*self._held, part, floor, counts), self._parts)
        start, place = places_of(counts)
        target, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)

        def copy(part: Ids) -> None:
            screen_loops.copy_above(*self._held, part, floor, place, target, value, *view.ceiling)

        share(copy, self._parts)
        return Pairs(start, target, value, np.zeros(self.n, np.bool_), view.vectors)

    @cached_property
    def _some(self) -> Halves:
        return self.view.strip(few(self.n))
