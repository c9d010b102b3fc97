"""Which sources do the queries have most use for, one by one? (GCMI)

    f(A) = 2 λ Σ_{q∈Q} Σ_{j∈A} S[q, j]

Mutual information of graph cut, f_GC(A) + f_GC(Q) − f_GC(A ∪ Q): pure retrieval, every source by
its sum over the queries. submodlib's GraphCutMutualInformation leaves the factor out, λ = ½. The
picks never depend on λ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_weight
from influence_store.selection.functions.modular import Modular
from influence_store.selection.functions.pairs import margins
from influence_store.selection.tiles import TILE_BYTES, columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Ids, PairwiseView


class GCMI(Modular):
    """GCMI of the sources of `view`, whose rows are the queries; monotone if no sum is < 0."""

    def __init__(
        self, view: PairwiseView, *, lam: float = 0.5, tile_bytes: int = TILE_BYTES
    ) -> None:
        """One pass over `view`; ValueError if it is empty or a value is not finite."""
        self.view, self.lam = view, check_weight("lam", lam)
        super().__init__(2.0 * self.lam * margins(view, tile_bytes).by_source)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "gcmi", "lam": self.lam}

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        served = columns(self.view, np.unique(items)).sum(dtype=np.float64)
        return float(2.0 * self.lam * served)
