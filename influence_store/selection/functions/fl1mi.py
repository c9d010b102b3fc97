"""How much of what the queries cover do the chosen sources cover too? (FL1MI)

    f(A) = Σ_i min( max_{j∈A} S[i, j], η max_{q∈Q} S[i, q] )

What DELIFT's released code runs in its second stage (arXiv 2411.04425 prints the formula of
`flqmi.py` instead); submodlib's FacilityLocationMutualInformation, FLVMI in other places (what
submodlib calls *variant* is `flqmi.py`). With η = 1 it is f_FL(A) + f_FL(Q) − f_FL(A ∪ Q). It
saturates: once a target is covered as well as the queries cover it, more sources like that gain
nothing. Both kernels are ≥ 0 and on one scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import (
    check_not_negative,
    check_same_targets,
    check_weight,
)
from influence_store.selection.functions.coverage import Coverage, frozen, raised, raises
from influence_store.selection.tiles import TILE_BYTES, best_over, lower_bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class FL1MI:
    """FL1MI between the sources of `view` and those of `queries`; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self,
        view: PairwiseView,
        queries: PairwiseView,
        *,
        eta: float = 1.0,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        """One pass over both, `queries` (n_targets, n_queries); ValueError if a value is < 0."""
        check_same_targets(view.shape, queries.shape, "query")
        check_not_negative(min(lower_bound(view), lower_bound(queries)), "FL1MI")
        self.view, self.queries, self.tile_bytes = view, queries, tile_bytes
        self.eta = check_weight("eta", eta)
        self.n = view.shape[1]
        wanted = best_over(queries, np.arange(queries.shape[1]), tile_bytes)
        self._cap = frozen(self.eta * wanted)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the two kernels that decides a value."""
        return {"function": "fl1mi", "eta": self.eta}

    @property
    def coverage(self) -> Coverage:
        """The same function, in the form that all coverage functions share."""
        return Coverage(self.view, self.empty(), cap=self._cap)

    def empty(self) -> Gains:
        """No target covered, (n_targets,)."""
        return frozen(np.zeros(self.view.shape[0]))

    def gains(self, state: Gains, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0."""
        return raises(self.view, state, candidates, cap=self._cap, tile_bytes=self.tile_bytes)

    def add(self, state: Gains, item: int) -> Gains:
        """The coverage once `item` is chosen as well."""
        return raised(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        covered = np.maximum(best_over(self.view, np.unique(items), self.tile_bytes), 0.0)
        wanted = best_over(self.queries, np.arange(self.queries.shape[1]), self.tile_bytes)
        return float(np.minimum(covered, self.eta * wanted).sum())
