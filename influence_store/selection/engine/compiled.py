"""The loops that numpy has no word for, compiled.

Everything here releases Python's lock, so threads may share the work, and reads values that lie on
a grid (`selection/grid.py`), so that no sum depends on its order: `reassoc` lets the compiler sum
in vector registers and changes no bit.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from influence_store.jit import compiled
from influence_store.selection.room import fits, take

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Doubles, Flags, Floats, Ids
    from influence_store.selection.room import Room

    Ints = npt.NDArray[np.int32]
    Marks = npt.NDArray[np.uint8]
    Eights = npt.NDArray[np.uint64]
    Found = npt.NDArray[np.uint32]

#: Why the walk over the heap came to an end.
DONE, PAUSED, EMPTY = 0, 1, 2


#: Sums may be added up in any order.
fast = compiled("reassoc", "nsz", "contract")
#: Without `reassoc`, which would take away what is added for the rounding.
as_written = compiled()


@fast
def cosine(source: Doubles, target: Floats) -> np.float32:
    """⟨source, target⟩ of unit vectors, summed in float64, on the grid of scale 1."""
    total = 0.0
    for k in range(len(target)):
        total += source[k] * np.float64(target[k])
    return np.float32(np.rint(np.float64(np.float32(total)) * 2.0**22) * 2.0**-22)


@as_written
def settle(tile: Floats, magic: np.float32, low: Floats) -> None:
    """Put `tile` (r, c) on the grid, in place; low (c,) falls to the smallest of each column."""
    rows, columns = tile.shape
    for r in range(rows):
        for c in range(columns):
            value = (tile[r, c] + magic) - magic
            tile[r, c] = value
            low[c] = value if value < low[c] else low[c]


@fast
def row_gains(by_source: Floats, sources: Ids, level: Floats, cap: Floats, out: Doubles) -> None:
    """out[k] = Σ_i max(min(S[i, sources[k]], cap_i) − level_i, 0)."""
    for k in range(len(sources)):
        row = by_source[sources[k]]
        total = 0.0
        for i in range(len(level)):
            total += max(np.float64(min(row[i], cap[i])) - np.float64(level[i]), 0.0)
        out[k] = total


@fast
def raise_level(row: Floats, level: Floats, cap: Floats) -> None:
    """level_i = max(level_i, min(row_i, cap_i)), in place."""
    for i in range(len(level)):
        level[i] = max(level[i], min(row[i], cap[i]))


@fast
def count_above(by_source: Floats, level: Floats, cap: Floats, out: Ids) -> None:
    """out[j] = how many targets source j would still raise."""
    for j in range(len(by_source)):
        row = by_source[j]
        count = 0
        for i in range(len(level)):
            count += min(row[i], cap[i]) > level[i]
        out[j] = count


@fast
def room_to_list(n: int) -> tuple[Marks, Eights, Found]:
    """Flags (n and up to the next eight), the same as eights, and room for their positions."""
    flags = np.zeros((n + 7) // 8 * 8, np.uint8)
    return flags, flags.view(np.uint64), np.empty(len(flags) + 1, np.uint32)


@fast
def list_set(flags: Marks, eights: Eights, found: Found) -> int:
    """Write the positions of the flags that are set to `found`; how many there are."""
    count = 0
    for e in range(len(eights)):
        if eights[e] != 0:  # flags are set in vector registers, and nearly all eights are empty
            for i in range(8 * e, 8 * e + 8):
                found[count] = i  # set or not: a branch would be guessed wrong
                count += flags[i]
    return count


@fast
def copy_above(
    by_source: Floats, level: Floats, cap: Floats, start: Ids, target: Ints, value: Floats
) -> None:
    """The targets that each source would still raise, and to which value."""
    flags, eights, found = room_to_list(len(level))
    for j in range(len(by_source)):
        row = by_source[j]
        for i in range(len(level)):
            flags[i] = min(row[i], cap[i]) > level[i]
        for k in range(list_set(flags, eights, found)):
            i = found[k]
            target[start[j] + k] = i
            value[start[j] + k] = min(row[i], cap[i])


@fast
def drop_below(
    start: Ids, target: Ints, value: Floats, level: Floats, ends: Ids, gains: Doubles
) -> None:
    """Move the pairs above their level together, from start[0] on; those of j end at ends[j].

    gains[j] = Σ over the pairs of source j of max(S[i, j] − level_i, 0).
    """
    place = start[0]
    for j in range(len(ends)):
        total = 0.0
        for k in range(start[j], start[j + 1]):
            i, its = target[k], value[k]
            target[place] = i  # written whether it stays or not: a branch would be guessed wrong
            value[place] = its
            more = np.float64(its) - np.float64(level[np.uint32(i)])
            total += max(more, 0.0)
            place += more > 0.0
        ends[j], gains[j] = place, total


@fast
def _pair_gain(start: Ids, target: Ints, value: Floats, level: Floats, j: int) -> float:
    # Slices and unsigned positions: with signed ones numba provides for negative positions,
    # which takes four times as long.
    targets, values = target[start[j] : start[j + 1]], value[start[j] : start[j + 1]]
    total = 0.0
    for k in range(len(targets)):
        total += max(np.float64(values[k]) - np.float64(level[np.uint32(targets[k])]), 0.0)
    return total


@fast
def _learn(start: Ids, target: Ints, value: Floats, level: Floats, vectors: Floats, j: int) -> None:
    source = vectors[j].astype(np.float64)
    for k in range(start[j], start[j + 1]):
        i = np.uint32(target[k])
        if value[k] > level[i]:
            value[k] = cosine(source, vectors[i])


@fast
def learn(
    start: Ids,
    target: Ints,
    value: Floats,
    level: Floats,
    known: Flags,
    vectors: Floats,
    which: Ids,
) -> None:
    """Put the truth in place of the values of sources `which` that may be above their level."""
    for j in which:
        if not known[j]:
            _learn(start, target, value, level, vectors, j)
            known[j] = True


@fast
def pair_gains(start: Ids, target: Ints, value: Floats, level: Floats, out: Doubles) -> None:
    """out[j] = Σ over the pairs of source j of max(S[i, j] − level_i, 0)."""
    for j in range(len(out)):
        out[j] = _pair_gain(start, target, value, level, j)


_fits = fast(fits)
_take = fast(take)


@fast
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
    known: Flags,
    vectors: Floats,
) -> tuple[int, int, int]:
    """Lazy greedy over pairs, from step `first` until `items` is full or `work` pairs were read.

    `bound` (n,) are the gains at the first step, −1 for sources out of the game; picks are ranked
    by gain per `price`. Values of sources that are not `known` may be too large: the truth is
    computed from the `vectors` before such a source is picked. All arrays are brought up to date
    in place. Returns the step reached, the evaluations done and why it ended.
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
        if when != step or not known[j]:
            if read > work:
                return step, evaluations, PAUSED
            if when == step:  # nobody is in sight who would add more
                _learn(start, target, value, level, vectors, j)
                known[j] = True
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
