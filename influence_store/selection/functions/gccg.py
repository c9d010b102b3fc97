"""What represents the pool without repeating itself or the given samples? (GCCG)

    f(A) = Σ_i Σ_{j∈A} S[i, j]  −  λ Σ_{j,k∈A} S[j, k]  −  2 λ ν Σ_{j∈A} Σ_{p∈P} S[j, p]

Conditional gain of graph cut, submodlib's GraphCutConditionalGain (ν is its `privacyHardness`).
With ν = 1 it is f_GC(A ∪ P) − f_GC(P). A source much like the given ones can be worth less than
nothing, so f is seldom monotone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_same_targets, check_weight
from influence_store.selection.functions.graph_cut import GraphCut, never_lowered
from influence_store.selection.functions.pairs import margins
from influence_store.selection.tiles import TILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Ids, PairwiseView


class GCCG(GraphCut):
    """GCCG over the sources of `view` (square) given those of `given`: graph cut less a price."""

    name = "GCCG"

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
        super().__init__(view, lam=lam, tile_bytes=tile_bytes)
        check_same_targets(view.shape, given.shape, "given")
        self.given, self.nu = given, check_weight("nu", nu)
        served = self._worth
        known = margins(given, tile_bytes).by_target
        self._worth = served - 2.0 * self.lam * self.nu * known
        self.monotone = never_lowered(self._worth, self._own, served, self.lam)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the two kernels that decides a value."""
        return {"function": "gccg", "lam": self.lam, "nu": self.nu}

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        everyone = np.arange(self.given.shape[1])
        known = self.given.block(np.unique(items), everyone).sum(dtype=np.float64)
        return super().value(items) - float(2.0 * self.lam * self.nu * known)
