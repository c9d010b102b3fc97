"""Which vectors point the same way? All pairs with cosine ≥ threshold, exactly, by tiles.

A product of float32 tiles finds candidates (its last bits depend on the shape of the tile); then
each is computed again alone, in float64 and in one order, so that a pair is a twin or not whatever
else it was compared with. Memory is one tile and the pairs found, never n × n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.overlap.pairs import Pairs, too_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Floats, Ids

TILE_ROWS = 2048
#: More than the rounding of a float32 product of two unit vectors of up to 10^4 numbers.
_SLACK = 1e-4


def twins_within(vectors: Floats, threshold: float, start: int, stop: int, *, limit: int) -> Pairs:
    """Pairs b < a with start ≤ a < stop; see `twins_between`.

    Called for consecutive ranges from 0 to n, it yields every pair of the n rows exactly once.
    """
    found = twins_between(vectors[start:stop], vectors[:stop], threshold, limit=limit)
    mine = found.b < found.a + start
    return Pairs(found.a[mine] + start, found.b[mine], found.similarity[mine])


def twins_between(rows: Floats, others: Floats, threshold: float, *, limit: int) -> Pairs:
    """Pairs of a row and another with cosine ≥ threshold; a zero vector is nobody's twin.

    rows (n, dim), others (m, dim) of any length; cosine is in [-1, 1], higher means more alike.
    UsageError for more than `limit` pairs: nearly all the vectors are one vector.
    """
    parts: list[Pairs] = []
    for a, b in _candidates(_unit(rows), _unit(others), threshold - _SLACK):
        parts.append(_exact(rows, others, a, b, threshold))
        if (found := sum(map(len, parts))) > limit:
            raise too_many(found, len(rows))
    a, b, similarity = (
        np.concatenate([np.zeros(0, kind), *[getattr(part, name) for part in parts]])
        for name, kind in (("a", np.int64), ("b", np.int64), ("similarity", np.float64))
    )
    order = np.lexsort((b, a))
    return Pairs(a[order], b[order], similarity[order])


def _candidates(rows: Floats, others: Floats, threshold: float) -> Iterator[tuple[Ids, Ids]]:
    for top in range(0, len(rows), TILE_ROWS):
        for left in range(0, len(others), TILE_ROWS):
            tile = rows[top : top + TILE_ROWS] @ others[left : left + TILE_ROWS].T
            a, b = np.nonzero(tile >= threshold)
            yield a + top, b + left


def _exact(rows: Floats, others: Floats, a: Ids, b: Ids, threshold: float) -> Pairs:
    similarity = np.zeros(len(a))
    for k in range(0, len(a), TILE_ROWS):
        x = rows[a[k : k + TILE_ROWS]].astype(np.float64)
        y = others[b[k : k + TILE_ROWS]].astype(np.float64)
        norms = np.sqrt((x * x).sum(axis=1)) * np.sqrt((y * y).sum(axis=1))
        products = (x * y).sum(axis=1)
        np.divide(products, norms, out=similarity[k : k + TILE_ROWS], where=norms > 0)
    keep = similarity >= threshold
    return Pairs(a[keep], b[keep], np.minimum(similarity[keep], 1.0))


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
