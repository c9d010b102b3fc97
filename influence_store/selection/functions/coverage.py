"""How much better covered do the targets become? The part all coverage functions share.

    f(A) = Σ_i max( min(max_{j∈A} S[i, j], cap_i) − level_i, 0 )  +  Σ_{j∈A} bonus_j

`level` (n_targets,) says how well each target is covered so far: the largest value among the
chosen sources, from whatever level the function starts at. A source raises a level or leaves it.

Differences of float32 values are taken in float64 and added up source by source in one fixed
order. So the result does not depend on the tiles, and, because rounding is monotone, a gain never
grows by a rounding error when a level rises: what lazy greedy relies on holds to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.selection.tiles import TILE_BYTES, columns, tiles

if TYPE_CHECKING:
    from influence_store.protocols import Floats, Gains, Ids, PairwiseView

_CACHE_BYTES = 1 << 20


@dataclass(frozen=True)
class Coverage:
    """A coverage function as one formula, for optimizers that know it and compile it.

    `level` (n_targets,) is what the empty set starts from, `cap` (n_targets,) the level beyond
    which nothing counts (None: there is none), `bonus` (n_sources,) what a source adds by itself
    whatever else is chosen (None: nothing). Levels, caps and bonuses are float64 and finite.
    """

    view: PairwiseView
    level: Gains
    cap: Gains | None = None
    bonus: Gains | None = None


def raises(
    view: PairwiseView,
    level: Gains,
    candidates: Ids,
    *,
    cap: Gains | None = None,
    tile_bytes: int = TILE_BYTES,
) -> Gains:
    """Σ_i max(min(S[i, j], cap_i) − level_i, 0) for every candidate j, (len(candidates),).

    A level above its cap needs no cutting: nothing can raise it, as it should be.
    """
    totals = [_raises_of(values, level, cap) for _, values in tiles(view, candidates, tile_bytes)]
    return np.concatenate(totals) if totals else np.zeros(0)


def raised(view: PairwiseView, level: Gains, source: int) -> Gains:
    """The levels once `source` is chosen as well: a new array that cannot be written to."""
    return frozen(np.maximum(level, columns(view, np.array([source]))[0]))


def frozen(level: Gains) -> Gains:
    """`level`, read-only: states are values."""
    level.setflags(write=False)
    return level


def _raises_of(values: Floats, level: Gains, cap: Gains | None) -> Gains:
    """`raises` of one tile (n_sources, n_targets), in pieces that stay in the cache."""
    height = max(1, _CACHE_BYTES // (8 * values.shape[1]))
    total = np.empty(len(values))
    for start in range(0, len(values), height):
        piece = values[start : start + height].astype(np.float64)
        if cap is not None:
            np.minimum(piece, cap, out=piece)
        piece -= level
        np.maximum(piece, 0.0, out=piece)
        piece.sum(axis=1, out=total[start : start + height])
    return total
