"""How much is every source like the chosen ones? The part all functions of pairs share.

Functions over pairs of sources read S[j, k] and S[k, j] as one number: their kernel is square and
symmetric. The sum over all ordered pairs of a set stays the same when a kernel is replaced by
(S + Sᵀ) / 2, which is what `Symmetric` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from influence_store.progress import progress
from influence_store.selection.functions.coverage import frozen
from influence_store.selection.tiles import TILE_BYTES, check_filled, check_finite, columns, tiles

if TYPE_CHECKING:
    from influence_store.protocols import Flags, Floats, Gains, Ids, PairwiseView

_LOOKED_AT = 256
_DIAGONAL_PIECE = 64
# Products of float32 vectors differ by this part of the largest value between the two directions.
_ROUNDING = 1e-5


class Symmetric:
    """(S + Sᵀ) / 2: a square kernel with what two samples mean to each other averaged."""

    def __init__(self, view: PairwiseView) -> None:
        """Reads nothing yet; ValueError if the view is not square."""
        check_square(view, "a symmetric kernel")
        self.view = view

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.view.shape

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols."""
        there, back = self.view.block(rows, cols), self.view.block(cols, rows).T
        return np.asarray((there + back) / np.float32(2.0), np.float32)


class Repeated(NamedTuple):
    """Σ_{k∈A} S[j, k] for every source j, (n,), and which sources A holds, (n,)."""

    overlap: Gains
    chosen: Flags


class Margins(NamedTuple):
    """Of one pass over a kernel: Σ_i S[i, j] per source, Σ_j S[i, j] per target, extremes."""

    by_source: Gains
    by_target: Gains
    lowest: float
    highest: float


def nothing_chosen(n: int) -> Repeated:
    """The state of the empty set."""
    return Repeated(frozen(np.zeros(n)), np.zeros(n, np.bool_))


def joined(view: PairwiseView, state: Repeated, item: int) -> Repeated:
    """The state once `item` is chosen as well; the same state if it was chosen already."""
    if state.chosen[item]:
        return state
    column = columns(view, np.array([item]))[0]
    return Repeated(frozen(state.overlap + column), with_item(state.chosen, item))


def with_item(chosen: Flags, item: int) -> Flags:
    """A copy of `chosen` in which `item` is chosen too."""
    grown = chosen.copy()
    grown[item] = True
    return grown


def margins(view: PairwiseView, tile_bytes: int = TILE_BYTES) -> Margins:
    """Sums and extremes of the whole kernel; ValueError if it is empty or a value not finite."""
    check_filled(view)
    by_source, by_target = np.empty(view.shape[1]), np.zeros(view.shape[0])
    lowest, highest = np.inf, -np.inf
    with progress("sums of the kernel", view.shape[1], "sources") as advance:
        for sources, values in tiles(view, np.arange(view.shape[1]), tile_bytes):
            check_finite(sources, values)
            by_source[sources] = values.sum(axis=1, dtype=np.float64)
            for value in values:
                by_target += value
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
            advance(len(sources))
    return Margins(frozen(by_source), frozen(by_target), lowest, highest)


def diagonal(view: PairwiseView) -> Gains:
    """S[j, j] for every source j of a square kernel, (n,)."""
    own = np.empty(view.shape[1])
    for start in range(0, len(own), _DIAGONAL_PIECE):
        part = np.arange(start, min(start + _DIAGONAL_PIECE, len(own)))
        own[part] = np.diagonal(view.block(part, part))
    return frozen(own)


def check_square(view: PairwiseView, function: str) -> None:
    """ValueError if the rows of the kernel cannot be its columns."""
    if view.shape[0] != view.shape[1]:
        raise ValueError(
            f"{function} compares sources with each other; found {view.shape[0]} targets × "
            f"{view.shape[1]} sources, expected a square kernel of the sources"
        )


def check_symmetric(view: PairwiseView, function: str) -> None:
    """ValueError if the kernel is not square, or not symmetric at up to 256 spread-out sources."""
    check_filled(view)
    check_square(view, function)
    some = np.unique(np.linspace(0, view.shape[1] - 1, _LOOKED_AT).astype(np.int64))
    there = view.block(some, some)
    apart = float(np.abs(there - there.T).max())
    if apart > _ROUNDING * float(np.abs(there).max()):
        raise ValueError(
            f"{function} needs a symmetric kernel; found S[j, k] and S[k, j] up to {apart:.3g} "
            "apart. Wrap the kernel in Symmetric(view), which averages them"
        )
