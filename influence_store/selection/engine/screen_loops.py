"""The compiled loops over a screen of cosines, and those of exact ones (engine/screen.py).

A tile (r₀, c₀) of 16-bit numbers holds S[r₀ …, c₀ …] for c₀ ≥ r₀, and is read twice while it is in
the cache, as in half_loops. Levels lie as far below the true ones as the screen may err, so nothing
found here is smaller than it truly is. Differences are taken without a sign (max(u, l) − l, one
instruction) and added up in whole numbers.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.selection.engine.compiled import cosine, fast, list_set, room_to_list

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.engine.compiled import Ints
    from influence_store.selection.engine.half_loops import Places
    from influence_store.selection.engine.whole_numbers import Halves


@fast
def add_bounds(tiles: Halves, corners: Ids, which: Ids, level: Halves, out: Doubles) -> None:
    """out[j] += Σ_i max(S[i, j] − level_i, 0) over the pairs of the tiles `which`."""
    size = tiles.shape[1]
    sums = np.empty(size, np.uint32)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        sums[:] = 0
        for r in range(len(above)):
            row, own = tiles[t, r, : len(below)], above[r]
            total = np.uint32(0)
            for c in range(len(below)):
                total += np.uint32(np.uint16(max(row[c], below[c]) - below[c]))
            out[r0 + r] += total
            for c in range(len(below)):  # on the diagonal for nothing
                sums[c] += np.uint32(np.uint16(max(row[c], own) - own))
        if r0 != c0:
            for c in range(len(below)):
                out[c0 + c] += sums[c]


@fast
def count_above(tiles: Halves, corners: Ids, which: Ids, level: Halves, out: Ids) -> None:
    """out[b, j] = how many targets of block b source j may still raise, in the tiles `which`."""
    size = tiles.shape[1]
    counts = np.empty(size, np.uint16)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        counts[:] = 0
        for r in range(len(above)):
            row, own = tiles[t, r, : len(below)], above[r]
            count = np.uint16(0)
            for c in range(len(below)):
                count += np.uint16(row[c] > below[c])
            out[c0 // size, r0 + r] = count
            for c in range(len(below)):
                counts[c] += np.uint16(row[c] > own)
        if r0 != c0:
            out[r0 // size, c0 : c0 + size] = counts[: len(below)]


@fast
def copy_above(
    tiles: Halves,
    corners: Ids,
    which: Ids,
    level: Halves,
    place: Places,
    target: Ints,
    value: Floats,
    unit: np.float32,
    least: np.int32,
) -> None:
    """The targets that each source may still raise, and to what at most: unit · (u + least).

    Those of block b for source j are written from place[b, j] on, which moves along.
    """
    size = tiles.shape[1]
    flags, eights, found = room_to_list(size)
    one = np.uint64(1)
    for t in which:
        r0, c0 = corners[t]
        above, below = level[r0 : r0 + size], level[c0 : c0 + size]
        by_row, by_column = place[c0 // size, r0 : r0 + size], place[r0 // size, c0 : c0 + size]
        flags[:] = 0
        for r in range(len(above)):
            row, own = tiles[t, r, : len(below)], above[r]
            for c in range(len(below)):
                flags[c] = row[c] > below[c]
            count = np.uint64(list_set(flags, eights, found))
            targets = target[by_row[r] : by_row[r] + count]
            values = value[by_row[r] : by_row[r] + count]
            by_row[r] += count
            for k in range(len(targets)):
                c = found[k]
                targets[k] = np.uint32(c0) + c
                values[k] = np.float32(np.int32(row[c]) + least) * unit
            if r0 == c0:
                continue
            for c in range(len(below)):
                flags[c] = row[c] > own
            for k in range(list_set(flags, eights, found)):
                c = found[k]
                at = by_column[c]
                target[at] = r0 + r
                value[at] = np.float32(np.int32(row[c]) + least) * unit
                by_column[c] = at + one


@fast
def add_rows(vectors: Floats, out: Doubles) -> None:
    """out += the sum of the vectors."""
    for i in range(len(vectors)):
        for k in range(len(out)):
            out[k] += np.float64(vectors[i, k])


@fast
def products(vectors: Floats, vector: Doubles, out: Doubles) -> None:
    """out[i] = ⟨vector i, vector⟩."""
    for i in range(len(vectors)):
        total = 0.0
        for k in range(len(vector)):
            total += np.float64(vectors[i, k]) * vector[k]
        out[i] = total


@fast
def cosines(sources: Floats, targets: Floats, out: Floats) -> None:
    """out[k, i] = ⟨source k, target i⟩, exact."""
    for k in range(len(sources)):
        source = sources[k].astype(np.float64)
        for i in range(len(targets)):
            out[k, i] = cosine(source, targets[i])


@fast
def lowest(tile: Halves, rows: Floats, columns: Floats, least: int) -> float:
    """The smallest exact value of the pairs of a tile that the screen puts at `least` or below."""
    low = np.inf
    for r in range(len(rows)):
        source = rows[r].astype(np.float64)
        for c in range(len(columns)):
            if tile[r, c] <= least:
                low = min(low, np.float64(cosine(source, columns[c])))
    return low


@fast
def tops(tiles: Halves, corners: Ids, which: Ids, mask: Halves, top: Halves) -> None:
    """top[i] rises to the largest u of target i and a source whose mask is set, in the tiles."""
    size = tiles.shape[1]
    for t in which:
        r0, c0 = corners[t]
        above, below = top[r0 : r0 + size], top[c0 : c0 + size]
        chosen, wanted = mask[r0 : r0 + size], mask[c0 : c0 + size]
        for r in range(len(above)):
            row, most = tiles[t, r, : len(below)], np.uint16(0)
            for c in range(len(below)):
                most = max(most, np.uint16(row[c] & wanted[c]))
            above[r] = max(above[r], most)
            if chosen[r] != 0 and r0 != c0:
                for c in range(len(below)):
                    below[c] = max(below[c], row[c])


@fast
def best(
    tiles: Halves,
    corners: Ids,
    which: Ids,
    mask: Halves,
    close: Halves,
    vectors: Floats,
    out: Floats,
) -> None:
    """out[i] rises to the exact value of every source whose mask is set and whose u is close."""
    size = tiles.shape[1]
    flags, eights, found = room_to_list(size)
    for t in which:
        r0, c0 = corners[t]
        above, below = close[r0 : r0 + size], close[c0 : c0 + size]
        chosen, wanted = mask[r0 : r0 + size], mask[c0 : c0 + size]
        flags[:] = 0
        for r in range(len(above)):
            row, own = tiles[t, r, : len(below)], above[r]
            for c in range(len(below)):
                flags[c] = np.uint16(row[c] & wanted[c]) >= own
            its = vectors[r0 + r].astype(np.float64)
            for k in range(list_set(flags, eights, found)):
                value = cosine(its, vectors[np.uint32(c0) + found[k]])
                out[r0 + r] = max(out[r0 + r], value)
            if chosen[r] == 0 or r0 == c0:
                continue
            for c in range(len(below)):
                flags[c] = row[c] >= below[c]
            for k in range(list_set(flags, eights, found)):
                target = np.uint32(c0) + found[k]
                out[target] = max(out[target], cosine(its, vectors[target]))
