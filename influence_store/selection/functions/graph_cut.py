"""What represents the targets without repeating itself? (graph cut)

    f(A) = Σ_i Σ_{j∈A} S[i, j]  −  λ Σ_{j,k∈A} S[j, k]

submodlib's GraphCut (its `lambdaVal` is λ), apricot's GraphCutSelection with α = 1 / λ and f / λ.
The first sum asks for sources that many targets have use for, the second, over ordered pairs and
each source with itself, takes away what the chosen ones share. For values ≥ 0 it is submodular.
It is monotone where even the last source to join does not lower it; over a kernel of the sources
with themselves that is so for every λ ≤ ½, beyond it depends on the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_not_negative, check_weight
from influence_store.selection.functions.pairs import (
    Repeated,
    check_symmetric,
    diagonal,
    joined,
    margins,
    nothing_chosen,
)
from influence_store.selection.tiles import TILE_BYTES, columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class GraphCut:
    """Graph cut over the sources of `view`; submodular, and `monotone` says if it is that too."""

    submodular: bool = True
    name = "graph cut"

    def __init__(
        self,
        view: PairwiseView,
        within: PairwiseView | None = None,
        *,
        lam: float = 0.5,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        """One pass over both; `within` (n_sources, n_sources), the view itself if left out.

        ValueError if `within` is not symmetric or has a value < 0, or a value is not finite.
        """
        self.view, self.within = view, view if within is None else within
        check_symmetric(self.within, self.name)
        _check_same_sources(view, self.within)
        self.lam, self.tile_bytes = check_weight("lam", lam), tile_bytes
        self.n = view.shape[1]
        served = margins(view, tile_bytes)
        shared = served if within is None else margins(within, tile_bytes)
        check_not_negative(shared.lowest, self.name)
        self._own = diagonal(self.within)
        self._worth = served.by_source
        self.monotone = never_lowered(self._worth, self._own, shared.by_source, self.lam)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernels that decides a value."""
        return {"function": "graph-cut", "lam": self.lam}

    def empty(self) -> Repeated:
        """No source chosen."""
        return nothing_chosen(self.n)

    def gains(self, state: Repeated, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j; 0 for a source that is chosen already."""
        return cut_gains(self._worth, self._own, self.lam, state, candidates)

    def add(self, state: Repeated, item: int) -> Repeated:
        """The state once `item` is chosen as well."""
        return joined(self.within, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        distinct = np.unique(items)
        served = columns(self.view, distinct).sum(dtype=np.float64)
        shared = self.within.block(distinct, distinct).sum(dtype=np.float64)
        return float(served - self.lam * shared)


def cut_gains(worth: Gains, own: Gains, lam: float, state: Repeated, candidates: Ids) -> Gains:
    """worth_j − λ (2 Σ_{k∈A} S[j, k] + S[j, j]); every step rounds alike, so none ever grows."""
    shared = 2.0 * state.overlap[candidates] + own[candidates]
    return np.where(state.chosen[candidates], 0.0, worth[candidates] - lam * shared)


def never_lowered(worth: Gains, own: Gains, total: Gains, lam: float) -> bool:
    """Whether each source still gains ≥ 0 when all others are chosen, its smallest gain."""
    return bool((worth - lam * (2.0 * total - own) >= 0).all())


def _check_same_sources(view: PairwiseView, within: PairwiseView) -> None:
    if view.shape[1] != within.shape[1]:
        raise ValueError(
            f"the kernel has {view.shape[1]} sources and the one among sources "
            f"{within.shape[1]}; expected the same sources, in the same order"
        )
