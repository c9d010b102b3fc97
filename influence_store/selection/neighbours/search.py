"""Which k sources are nearest to each of some rows, and whose list do these rows enter?

    list(i) = the k sources j with the largest ⟨x_i, x_j⟩ in the cells searched from the cell of i

Cell by cell, a matrix product of float32 sorts out who has no chance; the others are computed
again in float64 and put on the grid. A float32 product of unit vectors in d dimensions is off by
at most d · 2⁻²⁴ (Higham, Accuracy and Stability, §3.1), so nobody is sorted out by rounding, and
lists depend neither on the library that multiplies nor on the shape of what it multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from influence_store.cores import share
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids
    from influence_store.selection.neighbours.cells import Cells

    Ints = npt.NDArray[np.int32]

#: Bytes of products per thread; candidates whose vectors are gathered at once.
_TILE_BYTES, _LEAST_ROWS, _PANEL = 32 << 20, 64, 8192
_GRID_STEP = 2.0**-22


@dataclass(frozen=True)
class Lists:
    """`sources` (n, k) int32, best first, and their `values`; −1 and −inf where there are fewer."""

    sources: Ints
    values: Floats

    @classmethod
    def empty(cls, n: int, k: int) -> Lists:
        """n lists that name nobody."""
        return cls(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))


@dataclass(frozen=True)
class Edges:
    """Pairs, each (e,): `source` is one of the k nearest of `target`."""

    target: Ints
    source: Ints
    value: Floats


@dataclass(frozen=True)
class Found:
    """The lists of `rows`, and where the rows enter lists that were known before."""

    rows: Ids
    lists: Lists
    edges: Edges


def search(
    vectors: Floats,
    cell: Ints,
    cells: Cells,
    rows: Ids,
    k: int,
    *,
    known: Lists | None = None,
    threads: int | None = None,
) -> Found:
    """The lists of `rows` among all n vectors, and the pairs by which they enter `known`.

    `vectors` (n, d) of length 1, `cell` (n,) that of each vector, `rows` ascending positions.
    `known` are n lists; one that is full of −1 belongs to a row that has none yet.
    """
    from influence_store.selection.neighbours import compiled

    found = Lists.empty(len(rows), k)
    place = np.full(len(vectors), -1, np.int64)
    place[rows] = np.arange(len(rows))
    ends = _ends(known)
    slack = 2 * vectors.shape[1] * 2.0**-24 * 1.01 + _GRID_STEP
    tiles = list(_tiles(cell, cells, place))
    edges = [_edges(0)] * max(1, len(tiles))

    def tile(number: int) -> None:
        here, candidates = tiles[number]
        products = _products(vectors, here, candidates)
        against = (products, vectors, here, candidates, slack)
        compiled.nearest(*against, place[here], found.sources, found.values)
        if ends is not None:
            edges[number] = _entering(against, *ends)
        advance(len(here))

    with threadpool_limits(1, "blas"), progress("neighbours", len(rows)) as advance:
        share(tile, range(len(tiles)), threads=threads)
    return Found(rows, found, _joined(edges))


def enter(lists: Lists, edges: Edges) -> None:
    """Let the sources of `edges` into the lists of their targets, in place and in any order."""
    from influence_store.selection.neighbours import compiled

    compiled.join(lists.sources, lists.values, edges.target, edges.source, edges.value)


def _tiles(cell: Ints, cells: Cells, place: Ids) -> Iterator[tuple[Ids, Ids]]:
    """Rows of one cell that have a place, and everybody they are compared with."""
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(cells.n + 1))
    members = [order[bounds[c] : bounds[c + 1]] for c in range(cells.n)]
    for mine, searched in zip(members, cells.searched(), strict=True):
        wanted = mine[place[mine] >= 0]
        if not len(wanted):
            continue
        candidates = np.concatenate([members[other] for other in searched])
        height = max(_LEAST_ROWS, _TILE_BYTES // (4 * len(candidates)))
        for start in range(0, len(wanted), height):
            yield wanted[start : start + height], candidates


def _products(vectors: Floats, rows: Ids, candidates: Ids) -> Floats:
    """⟨row, candidate⟩ in float32, (r, c)."""
    out = np.empty((len(rows), len(candidates)), np.float32)
    left = vectors[rows]
    for start in range(0, len(candidates), _PANEL):
        panel = slice(start, start + _PANEL)
        np.matmul(left, vectors[candidates[panel]].T, out=out[:, panel])
    return out


def _ends(known: Lists | None) -> tuple[Ints, Floats] | None:
    """The last entry of every known list; +inf, which nobody beats, where there is none."""
    if known is None:
        return None
    last = known.values[:, -1].copy()
    last[known.sources[:, 0] < 0] = np.inf
    return known.sources[:, -1].copy(), last


def _entering(
    against: tuple[Floats, Floats, Ids, Ids, float], source: Ints, value: Floats
) -> Edges:
    """The pairs by which the rows enter lists that end in `source`, `value` (n,) so far."""
    from influence_store.selection.neighbours import compiled

    none = _edges(0)
    room = compiled.entering(*against, source, value, none.target, none.source, none.value)
    if room == 0:
        return none
    edges = _edges(room)
    found = compiled.entering(*against, source, value, edges.target, edges.source, edges.value)
    return Edges(edges.target[:found], edges.source[:found], edges.value[:found])


def _edges(room: int) -> Edges:
    return Edges(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float32))


def _joined(edges: Sequence[Edges]) -> Edges:
    return Edges(
        np.concatenate([part.target for part in edges]),
        np.concatenate([part.source for part in edges]),
        np.concatenate([part.value for part in edges]),
    )
