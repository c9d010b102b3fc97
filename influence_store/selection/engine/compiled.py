"""The loops that numpy has no word for, compiled.

Everything here releases Python's lock, so threads may share the work, and reads values that lie on
a grid (`selection/grid.py`), so that no sum depends on its order: `reassoc` lets the compiler sum
in vector registers and changes no bit.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

from influence_store.selection.room import fits, take

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.room import Room

    F = TypeVar("F", bound=Callable[..., Any])
    Ints = npt.NDArray[np.int32]

#: Why the walk over the heap came to an end.
DONE, PAUSED, EMPTY = 0, 1, 2


def _compiled(function: F) -> F:
    fast: F = numba.njit(
        nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"}
    )(function)
    return fast


def _as_written(function: F) -> F:
    """Compiled without `reassoc`, which would take away what is added for the rounding."""
    plain: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return plain


@_as_written
def settle(tile: Floats, out: Floats, magic: np.float32) -> None:
    """Put `tile` (r, c) on the grid, in place and in `out` (r, c)."""
    rows, columns = tile.shape
    for r in range(rows):
        for c in range(columns):
            value = (tile[r, c] + magic) - magic
            tile[r, c] = value
            out[r, c] = value


@_compiled
def row_gains(by_source: Floats, sources: Ids, level: Floats, cap: Floats, out: Doubles) -> None:
    """out[k] = Σ_i max(min(S[i, sources[k]], cap_i) − level_i, 0)."""
    for k in range(len(sources)):
        row = by_source[sources[k]]
        total = 0.0
        for i in range(len(level)):
            total += max(np.float64(min(row[i], cap[i])) - np.float64(level[i]), 0.0)
        out[k] = total


@_compiled
def raise_level(row: Floats, level: Floats, cap: Floats) -> None:
    """level_i = max(level_i, min(row_i, cap_i)), in place."""
    for i in range(len(level)):
        level[i] = max(level[i], min(row[i], cap[i]))


@_compiled
def count_above(by_source: Floats, level: Floats, cap: Floats, out: Ids) -> None:
    """out[j] = how many targets source j would still raise."""
    for j in range(len(by_source)):
        row = by_source[j]
        count = 0
        for i in range(len(level)):
            count += min(row[i], cap[i]) > level[i]
        out[j] = count


@_compiled
def copy_above(
    by_source: Floats, level: Floats, cap: Floats, start: Ids, target: Ints, value: Floats
) -> None:
    """The targets that each source would still raise, and to which value."""
    # Compared in vector registers, then looked at eight by eight: nearly all eights are empty.
    above = np.zeros((len(level) + 7) // 8 * 8, np.uint8)
    eights = above.view(np.uint64)
    for j in range(len(by_source)):
        row = by_source[j]
        for i in range(len(level)):
            above[i] = min(row[i], cap[i]) > level[i]
        place = start[j]
        for e in range(len(eights)):
            if eights[e] != 0:
                for i in range(8 * e, 8 * e + 8):
                    if above[i]:
                        target[place] = i
                        value[place] = min(row[i], cap[i])
                        place += 1


@_compiled
def drop_below(start: Ids, target: Ints, value: Floats, level: Floats, ends: Ids) -> None:
    """Move the pairs above their level together, from start[0] on; those of j end at ends[j]."""
    place = start[0]
    for j in range(len(ends)):
        for k in range(start[j], start[j + 1]):
            if value[k] > level[target[k]]:
                target[place] = target[k]
                value[place] = value[k]
                place += 1
        ends[j] = place


@_compiled
def _pair_gain(start: Ids, target: Ints, value: Floats, level: Floats, j: int) -> float:
    total = 0.0
    for k in range(start[j], start[j + 1]):
        total += max(np.float64(value[k]) - np.float64(level[target[k]]), 0.0)
    return total


@_compiled
def pair_gains(start: Ids, target: Ints, value: Floats, level: Floats, out: Doubles) -> None:
    """out[j] = Σ over the pairs of source j of max(S[i, j] − level_i, 0)."""
    for j in range(len(out)):
        out[j] = _pair_gain(start, target, value, level, j)


_fits = _compiled(fits)
_take = _compiled(take)


@_compiled
def walk(
    start: Ids,
    target: Ints,
    value: Floats,
    level: Floats,
    bonus: Doubles,
    bound: Doubles,
    price: Doubles,
    room: Room,
    first: int,
    items: Ids,
    gains: Doubles,
    work: int,
) -> tuple[int, int, int]:
    """Lazy greedy over pairs, from step `first` until `items` is full or `work` pairs were read.

    `bound` (n,) are the gains at the first step, −1 for sources out of the game; picks are ranked
    by gain per `price`. All arrays are brought up to date in place. Returns the step reached, the
    evaluations done and why it ended.
    """
    heap = [(-bound[j] / price[j], j, first) for j in range(len(bound)) if bound[j] >= 0.0]
    heapq.heapify(heap)
    step, evaluations, read = first, 0, 0
    while step < len(items):
        if len(heap) == 0:
            return step, evaluations, EMPTY
        _, j, when = heap[0]
        if not _fits(room, j):
            heapq.heappop(heap)
            bound[j] = -1.0
            continue
        if when != step:
            if read > work:
                return step, evaluations, PAUSED
            bound[j] = _pair_gain(start, target, value, level, j) + bonus[j]
            read += start[j + 1] - start[j] + 1
            evaluations += 1
            heapq.heapreplace(heap, (-bound[j] / price[j], j, step))
            continue
        heapq.heappop(heap)
        items[step], gains[step] = j, bound[j]
        bound[j] = -1.0
        _take(room, j)
        for k in range(start[j], start[j + 1]):
            i = target[k]
            level[i] = max(level[i], value[k])
        step += 1
    return step, evaluations, DONE
