"""The loops of the neighbour index, compiled.

A list holds the k nearest sources of a target, best first: by value, then by position. That order
is total and values do not depend on where they are computed, so a list is the same whatever was
looked at first, on however many threads, at once or row by row as data arrives.

Everything releases Python's lock. This module imports numba: import it inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.jit import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids

    Ints = npt.NDArray[np.int32]

#: Cosines lie on multiples of 2⁻²², the grid of selection/grid.py at scale 1.
_STEPS = 4194304.0


#: `reassoc` lets the one sum here, in float64, use vector registers.
_compiled = compiled("reassoc", "contract")


@_compiled
def nearest(
    products: Floats,
    vectors: Floats,
    rows: Ids,
    candidates: Ids,
    slack: float,
    places: Ids,
    sources: Ints,
    values: Floats,
) -> None:
    """Write the list of each of `rows` among `candidates` to its place in `sources`, `values`.

    `products` (r, c) are off by `slack` / 2 at most: what they put within `slack` of the k-th best
    is computed again, exactly, before it may stand in a list.
    """
    k = sources.shape[1]
    best = np.empty(k, np.float32)
    for r in range(len(rows)):
        bar = _kth_largest(products[r], best) - slack
        for c in range(len(candidates)):
            if products[r, c] >= bar:
                value = _product(vectors[rows[r]], vectors[candidates[c]])
                _insert(sources[places[r]], values[places[r]], candidates[c], value)


@_compiled
def products(vectors: Floats, vector: Floats, out: Floats) -> None:
    """out[i] = ⟨vectors[i], vector⟩."""
    for i in range(len(vectors)):
        out[i] = _product(vectors[i], vector)


@_compiled
def entering(
    products: Floats,
    vectors: Floats,
    rows: Ids,
    candidates: Ids,
    slack: float,
    last_source: Ints,
    last_value: Floats,
    target: Ints,
    source: Ints,
    value: Floats,
) -> int:
    """Note which of `rows` belong in the lists of `candidates`, that end in `last_…` (n,) so far.

    Writes pairs to `target`, `source`, `value` as far as they go; returns how many were hopeful,
    which without room for a single pair is the room that all of them need.
    """
    found = 0
    for c in range(len(candidates)):
        i = candidates[c]
        bar = last_value[i] - slack
        for r in range(len(rows)):
            if products[r, c] >= bar:
                if len(target) == 0:
                    found += 1
                    continue
                exact = _product(vectors[i], vectors[rows[r]])
                if _before(exact, rows[r], last_value[i], last_source[i]):
                    target[found], source[found], value[found] = i, rows[r], exact
                    found += 1
    return found


@_compiled
def join(sources: Ints, values: Floats, target: Ints, source: Ints, value: Floats) -> None:
    """Insert the pairs into the lists of their targets; what is there already changes nothing."""
    for e in range(len(target)):
        _insert(sources[target[e]], values[target[e]], source[e], value[e])


@_compiled
def count_pairs(sources: Ints, values: Floats, level: Floats, count: Ids) -> None:
    """count[j] += how many targets list j above their level."""
    for i in range(len(sources)):
        for p in range(sources.shape[1]):
            if values[i, p] > level[i] and sources[i, p] >= 0:
                count[sources[i, p]] += 1


@_compiled
def turn(
    sources: Ints,
    values: Floats,
    level: Floats,
    first: int,
    place: Ids,
    target: Ints,
    value: Floats,
) -> None:
    """Write the same pairs source by source, of targets `first`, `first` + 1, …

    `place` (n_sources,) says where the pairs of each source begin, and moves on.
    """
    for i in range(len(sources)):
        for p in range(sources.shape[1]):
            j = sources[i, p]
            if values[i, p] > level[i] and j >= 0:
                target[place[j]], value[place[j]] = first + i, values[i, p]
                place[j] += 1


@_compiled
def _product(a: Floats, b: Floats) -> Any:
    """⟨a, b⟩, summed in float64 and put on the grid."""
    total = 0.0
    for d in range(len(a)):
        total += np.float64(a[d]) * np.float64(b[d])
    return np.float32(np.rint(total * _STEPS) / _STEPS)


@_compiled
def _before(value: float, source: int, other_value: float, other_source: int) -> bool:
    return value > other_value or (value == other_value and source < other_source)


@_compiled
def _insert(sources: Ints, values: Floats, source: int, value: float) -> None:
    """Put (source, value) where it belongs in one list, unless it is there or comes too late."""
    last = len(values) - 1
    if not _before(value, source, values[last], sources[last]):
        return
    place = last
    while place > 0 and _before(value, source, values[place - 1], sources[place - 1]):
        place -= 1
    if place > 0 and sources[place - 1] == source:
        return
    for p in range(last, place, -1):
        sources[p], values[p] = sources[p - 1], values[p - 1]
    sources[place], values[place] = source, value


@_compiled
def _kth_largest(row: Floats, heap: Floats) -> Any:
    """The k-th largest of `row` by a heap of k, smallest on top; −inf where there are fewer."""
    heap[:] = -np.inf
    k = len(heap)
    for x in row:
        if x > heap[0]:
            at = 0
            while True:
                below = 2 * at + 1
                if below >= k:
                    break
                if below + 1 < k and heap[below + 1] < heap[below]:
                    below += 1
                if heap[below] >= x:
                    break
                heap[at] = heap[below]
                at = below
            heap[at] = x
    return heap[0]
