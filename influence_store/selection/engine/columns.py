"""Where does the engine read a kernel: in memory, whole or a half, computed, or pairs that count?

All speak of Σ_i max(min(S[i, j], cap_i) − level_i, 0) and hold values on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from influence_store.cores import parts, share
from influence_store.progress import progress
from influence_store.selection.engine import compiled, half_loops
from influence_store.selection.engine.half import dealt
from influence_store.selection.grid import to_grid
from influence_store.selection.tiles import check_finite, tiles
from influence_store.selection.views import ProductView

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Flags, Floats, Ids, PairwiseView
    from influence_store.selection.engine.half import HalfView

_ROWS = 64
#: Columns by which the share of pairs that count is told.
_SAMPLE = 32
#: So many columns are gathered from a half alone; for more it is read from end to end.
_GATHERED = 8


@dataclass
class Pairs:
    """The pairs above their level, source by source: those that can still raise anything.

    `start` (n_sources + 1,), `target` and `value` (n_pairs,). A level can only rise, so what is
    left out can never count again: greedy goes on exactly. Shrinks in place.

    Where the kernel is screened (engine/screen.py), `vectors` (n, d) are its unit rows and a value
    is no smaller than the truth until its source is `known` (n,).
    """

    start: Ids
    target: npt.NDArray[np.int32]
    value: Floats
    known: Flags | None = None
    vectors: Floats | None = None

    @property
    def truth(self) -> tuple[Flags, Floats]:
        """Which sources are known, and the vectors that make the others so."""
        if self.known is None or self.vectors is None:
            return np.ones(len(self.start) - 1, np.bool_), np.empty((0, 0), np.float32)
        return self.known, self.vectors

    def learn(self, level: Floats, sources: Ids) -> None:
        """Put the truth in place of the values of `sources` that may be above their level."""
        if self.known is None or self.vectors is None:
            return
        held = self.start, self.target, self.value, level, self.known, self.vectors
        share(lambda part: compiled.learn(*held, sources[part]), parts(len(sources), _ROWS))

    def drop_below(self, level: Floats) -> Doubles:
        """Forget the pairs that the risen level has overtaken; the gains of the others."""
        n = len(self.start) - 1
        ends, gains = np.empty(n, np.int64), np.empty(n)

        def piece(part: slice) -> None:
            start = self.start[part.start : part.stop + 1]
            compiled.drop_below(start, self.target, self.value, level, ends[part], gains[part])

        pieces = parts(n, _ROWS)
        share(piece, pieces)
        place, start = 0, np.zeros(n + 1, np.int64)
        for part in pieces:  # each has closed its gaps; now the parts close theirs
            begin, end = self.start[part.start], ends[part.stop - 1]
            start[part.start + 1 : part.stop + 1] = ends[part] - begin + place
            for values in (self.target, self.value):
                values[place : place + end - begin] = values[begin:end]
            place += end - begin
        self.start, self.target, self.value = start, self.target[:place], self.value[:place]
        return gains

    def gains(self, level: Floats) -> Doubles:
        """The gain of every source, (n_sources,)."""
        out = np.empty(len(self.start) - 1)

        def piece(part: slice) -> None:
            start = self.start[part.start : part.stop + 1]
            compiled.pair_gains(start, self.target, self.value, level, out[part])

        share(piece, parts(len(out), _ROWS))
        return out


class Columns(Protocol):
    """The columns of a kernel, one per source."""

    n: int
    #: The share of pairs above their level at which keeping pairs beats reading columns.
    patience: float

    def bounds(self, level: Floats) -> Doubles:
        """No source would add more than this, (n,); inf where nothing is known for free."""
        ...

    def tighter(self, level: Floats) -> Doubles | None:
        """The same from one pass that costs less than `gains` of many; None if there is none."""
        ...

    def gains(self, sources: Ids, level: Floats, cap: Floats) -> Doubles:
        """What each of `sources` would add, (len(sources),)."""
        ...

    def column(self, source: int) -> Floats:
        """S[:, source], (n_targets,)."""
        ...

    def share_above(self, level: Floats, cap: Floats) -> float:
        """Which share of the pairs of a few sources is above its level."""
        ...

    def pairs(self, level: Floats, cap: Floats) -> Pairs:
        """All pairs above the level, cut at the cap."""
        ...


class DenseColumns:
    """A kernel held whole, (n_sources, n_targets), its values on the grid."""

    patience = 0.1

    def __init__(
        self, by_source: Floats, totals: Doubles | None = None, low: float | None = None
    ) -> None:
        """`totals` (n,) are no smaller than Σ_i S[i, j]; `low` is the smallest value."""
        self.by_source, self.n = by_source, len(by_source)
        self.totals, self.low = totals, low

    def bounds(self, level: Floats) -> Doubles:
        """Σ_i (S[i, j] − level_i), where no level is above a value."""
        return _bounds(self.n, self.totals, self.low, level)

    def tighter(self, _level: Floats) -> None:
        """Nothing short of the gains."""

    def gains(self, sources: Ids, level: Floats, cap: Floats) -> Doubles:
        """As many threads as cores, each on its own part of the sources."""
        out = np.empty(len(sources))

        def piece(part: slice) -> None:
            compiled.row_gains(self.by_source, sources[part], level, cap, out[part])

        share(piece, parts(len(sources), _ROWS))
        return out

    def column(self, source: int) -> Floats:
        """A view of the row."""
        row: Floats = self.by_source[source]
        return row

    def share_above(self, level: Floats, cap: Floats) -> float:
        """Read from a few rows."""
        return _share_above(self.by_source[few(self.n)], level, cap)

    def pairs(self, level: Floats, cap: Floats) -> Pairs:
        """Counted first, so that they are written where they stay."""
        counts = np.empty(self.n, np.int64)
        pieces = parts(self.n, _ROWS)
        share(
            lambda part: compiled.count_above(self.by_source[part], level, cap, counts[part]),
            pieces,
        )
        start = np.concatenate(([0], np.cumsum(counts)))
        target, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)

        def copy(part: slice) -> None:
            compiled.copy_above(self.by_source[part], level, cap, start[part], target, value)

        share(copy, pieces)
        return Pairs(start, target, value)


class HalfColumns:
    """A symmetric kernel of which one half is held, tile by tile."""

    patience = 0.1

    def __init__(self, view: HalfView) -> None:
        self.view, self.n = view, view.n
        self._held = view.tiles, view.corners
        self._parts = dealt(len(view.corners))
        #: Levels and caps of the last pass, and what each source would add to them.
        self._passed: tuple[Floats, Floats, Doubles] | None = None

    def bounds(self, level: Floats) -> Doubles:
        """Σ_i (S[i, j] − level_i), where no level is above a value."""
        return _bounds(self.n, self.view.totals, self.view.low, level)

    def tighter(self, _level: Floats) -> None:
        """Nothing short of the gains."""

    def gains(self, sources: Ids, level: Floats, cap: Floats) -> Doubles:
        """A few alone; many, and all others with them, in one pass over the tiles."""
        if len(sources) > _GATHERED:
            return self._all_gains(level, cap)[sources]
        out = np.empty(len(sources))
        compiled.row_gains(self.view.strip(sources), np.arange(len(sources)), level, cap, out)
        return out

    def column(self, source: int) -> Floats:
        """Gathered now."""
        row: Floats = self.view.strip(np.array([source]))[0]
        return row

    def share_above(self, level: Floats, cap: Floats) -> float:
        """Read from a few columns, gathered once."""
        return _share_above(self._some, level, cap)

    def pairs(self, level: Floats, cap: Floats) -> Pairs:
        """Counted first, so that they are written where they stay: target by target."""
        counts = np.empty((-(-self.n // self.view.size), self.n), np.int64)
        share(
            lambda part: half_loops.count_above(*self._held, part, level, cap, counts), self._parts
        )
        start, place = places_of(counts)
        target, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)

        def copy(part: Ids) -> None:
            half_loops.copy_above(*self._held, part, level, cap, place, target, value)

        share(copy, self._parts)
        return Pairs(start, target, value)

    @cached_property
    def _some(self) -> Floats:
        return self.view.strip(few(self.n))

    def _all_gains(self, level: Floats, cap: Floats) -> Doubles:
        """The gains of all sources, (n,), kept until a level rises."""
        if self._passed is not None:
            old_level, old_cap, known = self._passed
            if np.array_equal(level, old_level) and np.array_equal(cap, old_cap):
                return known
        sums = [np.zeros(self.n) for _ in self._parts]

        def add(k: int) -> None:
            half_loops.add_gains(*self._held, self._parts[k], level, cap, sums[k])

        share(add, range(len(sums)))
        gains: Doubles = np.sum(sums, axis=0)
        self._passed = level.copy(), cap, gains
        return gains


class TiledColumns:
    """A kernel computed when asked: no n × n anywhere, and columns computed again and again."""

    patience = 0.02

    def __init__(self, view: PairwiseView, scale: float) -> None:
        self.view, self.scale, self.n = view, scale, view.shape[1]

    def bounds(self, _level: Floats) -> Doubles:
        """Nothing is known for free."""
        return np.full(self.n, np.inf)

    def tighter(self, _level: Floats) -> None:
        """Nothing short of the gains."""

    def gains(self, sources: Ids, level: Floats, cap: Floats) -> Doubles:
        """Tile by tile."""
        out, done = np.empty(len(sources)), 0
        for part, values in self._tiles(sources):
            piece = out[done : done + len(part)]
            compiled.row_gains(values, np.arange(len(part)), level, cap, piece)
            done += len(part)
        return out

    def column(self, source: int) -> Floats:
        """Computed now."""
        row: Floats = next(self._tiles(np.array([source])))[1][0]
        return row

    def share_above(self, level: Floats, cap: Floats) -> float:
        """Computed for a few, once."""
        return _share_above(self._some, level, cap)

    def pairs(self, level: Floats, cap: Floats) -> Pairs:
        """One pass; memory for the pairs and one tile."""
        counts, targets, found = [np.zeros(1, np.int64)], [], []
        for part, values in self._tiles(np.arange(self.n)):
            count = np.empty(len(part), np.int64)
            compiled.count_above(values, level, cap, count)
            start = np.concatenate(([0], np.cumsum(count)))
            target, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)
            compiled.copy_above(values, level, cap, start, target, value)
            counts.append(count)
            targets.append(target)
            found.append(value)
        return Pairs(
            np.cumsum(np.concatenate(counts)), np.concatenate(targets), np.concatenate(found)
        )

    @cached_property
    def _some(self) -> Floats:
        return np.concatenate([values for _, values in self._tiles(few(self.n))])

    def _tiles(self, sources: Ids) -> Iterator[tuple[Ids, Floats]]:
        for part, values in tiles(self.view, sources):
            check_finite(part, values)
            yield part, to_grid(np.array(values), self.scale)


def places_of(counts: Ids) -> tuple[Ids, npt.NDArray[np.uint64]]:
    """Where pairs go that lie source by source, and in each block by block.

    From the `counts` (blocks, n): where each source begins (n + 1,), and where each block of it
    does (blocks, n).
    """
    ends = counts.T.cumsum().reshape(counts.T.shape).T
    return np.concatenate(([0], ends[-1])), (ends - counts).astype(np.uint64)


def few(n: int) -> Ids:
    """Some sources, evenly spread."""
    return np.linspace(0, n - 1, min(_SAMPLE, n)).astype(np.int64)


def _share_above(by_source: Floats, level: Floats, cap: Floats) -> float:
    counts = np.empty(len(by_source), np.int64)
    compiled.count_above(by_source, level, cap, counts)
    return float(counts.sum() / by_source.size)


def _bounds(n: int, totals: Doubles | None, low: float | None, level: Floats) -> Doubles:
    if totals is None or low is None or level.max() > low:
        return np.full(n, np.inf)
    bounds: Doubles = np.maximum(totals - level.sum(dtype=np.float64), 0.0)
    return bounds


def largest_of(view: PairwiseView) -> float:
    """max |S|: from the vectors where S are their products, else by one pass over the view."""
    if isinstance(view, ProductView):
        return view.largest
    largest = 0.0
    with progress("largest value", view.shape[1], "sources") as advance:
        for sources, values in tiles(view, np.arange(view.shape[1])):
            check_finite(sources, values)
            largest = max(largest, float(np.abs(values).max()))
            advance(len(sources))
    return largest
