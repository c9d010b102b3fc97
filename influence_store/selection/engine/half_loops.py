"""The compiled loops over a symmetric kernel of which only one half is kept (engine/half.py).

A tile (r₀, c₀) holds S[r₀ …, c₀ …] for c₀ ≥ r₀. Away from the diagonal it is read twice while it is
in the cache: its rows as sources that cover its columns, and its columns as sources that cover its
rows. All values lie on a grid, so no sum depends on the tile or the thread that adds to it.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.engine.compiled import fast, list_set, room_to_list

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.engine.compiled import Ints

    Places = npt.NDArray[np.uint64]

_LINE = 16


@fast
def gather(tiles: npt.NDArray[Any], sources: Ids, out: npt.NDArray[Any]) -> None:
    """out[k] = S[sources[k]], whole, (n,)."""
    size, n = tiles.shape[1], out.shape[1]
    blocks = (n + size - 1) // size
    first = 0
    while first < len(sources):
        block, last = sources[first] // size, first + 1
        # Sources that lie side by side share the lines of the cache in the tiles above them.
        while last < len(sources) and last - first < _LINE and sources[last] // size == block:
            last += 1
        for other in range(blocks):
            low, high = min(block, other), max(block, other)
            tile = tiles[low * blocks - low * (low - 1) // 2 + high - low]
            begin, end = other * size, min(n, other * size + size)
            if other >= block:
                for k in range(first, last):
                    out[k, begin:end] = tile[sources[k] - block * size, : end - begin]
            else:
                for i in range(end - begin):
                    for k in range(first, last):
                        out[k, begin + i] = tile[i, sources[k] - block * size]
        first = last


@fast
def add_gains(
    tiles: Floats, corners: Ids, which: Ids, level: Floats, cap: Floats, out: Doubles
) -> None:
    """out[j] += Σ_i max(min(S[i, j], cap_i) − level_i, 0) over the pairs of the tiles `which`.

    On the grid a difference of two float32 is exact; only its sum needs float64.
    """
    size, zero = tiles.shape[1], np.float32(0.0)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        most, cut = cap[r0 : r0 + size], cap[c0 : c0 + size]
        by_column = out[c0 : c0 + size]
        for r in range(len(above)):
            row = tiles[t, r, : len(below)]
            total = 0.0
            for c in range(len(below)):
                total += np.float64(max(min(row[c], cut[c]) - below[c], zero))
            out[r0 + r] += total
            if r0 != c0:
                own, top = above[r], most[r]
                for c in range(len(below)):
                    by_column[c] += np.float64(max(min(row[c], top) - own, zero))


@fast
def count_above(
    tiles: Floats, corners: Ids, which: Ids, level: Floats, cap: Floats, out: Ids
) -> None:
    """out[b, j] = how many targets of block b source j would still raise, in the tiles `which`."""
    size = tiles.shape[1]
    counts = np.empty(size, np.int32)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        most, cut = cap[r0 : r0 + size], cap[c0 : c0 + size]
        counts[:] = 0
        for r in range(len(above)):
            row = tiles[t, r, : len(below)]
            count = np.int32(0)
            for c in range(len(below)):
                count += np.int32(min(row[c], cut[c]) > below[c])
            out[c0 // size, r0 + r] = count
            for c in range(len(below)):  # on the diagonal for nothing
                counts[c] += np.int32(min(row[c], most[r]) > above[r])
        if r0 != c0:
            out[r0 // size, c0 : c0 + size] = counts[: len(below)]


@fast
def copy_above(
    tiles: Floats,
    corners: Ids,
    which: Ids,
    level: Floats,
    cap: Floats,
    place: Places,
    target: Ints,
    value: Floats,
) -> None:
    """The targets that each source would still raise, and to which value, in the tiles `which`.

    Those of block b for source j are written from place[b, j] on, which moves along.
    """
    size = tiles.shape[1]
    flags, eights, found = room_to_list(size)
    one = np.uint64(1)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        most, cut = cap[r0 : r0 + size], cap[c0 : c0 + size]
        by_row, by_column = place[c0 // size, r0 : r0 + size], place[r0 // size, c0 : c0 + size]
        flags[:] = 0
        for r in range(len(above)):
            row = tiles[t, r, : len(below)]
            for c in range(len(below)):
                flags[c] = min(row[c], cut[c]) > below[c]
            for k in range(list_set(flags, eights, found)):
                c = found[k]
                target[by_row[r]] = np.uint32(c0) + c
                value[by_row[r]] = min(row[c], cut[c])
                by_row[r] += one
            if r0 == c0:
                continue
            for c in range(len(below)):
                flags[c] = min(row[c], most[r]) > above[r]
            for k in range(list_set(flags, eights, found)):
                c = found[k]
                target[by_column[c]] = r0 + r
                value[by_column[c]] = min(row[c], most[r])
                by_column[c] += one
