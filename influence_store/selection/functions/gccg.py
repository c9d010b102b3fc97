"""What represents the pool without repeating itself or the given samples? (GCCG)

    f(A) = Σ_i Σ_{j∈A} S[i, j]  −  λ Σ_{j,k∈A} S[j, k]  −  2 λ ν Σ_{j∈A} Σ_{p∈P} S[j, p]

Conditional gain of graph cut, submodlib's GraphCutConditionalGain (ν is its `privacyHardness`).
With ν = 1 it is f_GC(A ∪ P) − f_GC(P). A source much like the given ones can be worth less than
nothing, so f is seldom monotone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import (
    check_not_negative,
    check_same_targets,
    check_weight,
)
from influence_store.selection.functions.graph_cut import cut_gains, never_lowered
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


class GCCG:
    """GCCG over the sources of `view` (square) given those of `given`; submodular."""

    submodular: bool = True

    def __init__(
        self,
        view: PairwiseView,
        given: PairwiseView,
        *,
        lam: float = 0.5,
        nu: float = 1.0,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        """One pass over both, `given` (n_sources, n_given).

        ValueError if `view` is not symmetric or has a value < 0, or a value is not finite.
        """
        check_symmetric(view, "GCCG")
        check_same_targets(view.shape, given.shape, "given")
        self.view, self.given, self.tile_bytes = view, given, tile_bytes
        self.lam, self.nu = check_weight("lam", lam), check_weight("nu", nu)
        self.n = view.shape[1]
        served, known = margins(view, tile_bytes), margins(given, tile_bytes)
        check_not_negative(served.lowest, "GCCG")
        self._own = diagonal(view)
        self._worth = served.by_source - 2.0 * self.lam * self.nu * known.by_target
        self.monotone = never_lowered(self._worth, self._own, served.by_source, self.lam)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the two kernels that decides a value."""
        return {"function": "gccg", "lam": self.lam, "nu": self.nu}

    def empty(self) -> Repeated:
        """No source chosen."""
        return nothing_chosen(self.n)

    def gains(self, state: Repeated, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j; 0 for a source that is chosen already."""
        return cut_gains(self._worth, self._own, self.lam, state, candidates)

    def add(self, state: Repeated, item: int) -> Repeated:
        """The state once `item` is chosen as well."""
        return joined(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        distinct = np.unique(items)
        served = columns(self.view, distinct).sum(dtype=np.float64)
        shared = self.view.block(distinct, distinct).sum(dtype=np.float64)
        known = self.given.block(distinct, np.arange(self.given.shape[1])).sum(dtype=np.float64)
        return float(served - self.lam * shared - 2.0 * self.lam * self.nu * known)
