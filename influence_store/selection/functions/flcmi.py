"""What do the chosen sources cover of what the queries cover and the given ones do not? (FLCMI)

    f(A) = Σ_i max( min( max_{j∈A} S[i, j], η max_{q∈Q} S[i, q] ) − ν max_{p∈P} S[i, p], 0 )

Conditional mutual information I(A; Q | P) of facility location: serve the queries Q, without what
P brings already. submodlib has it as FacilityLocationConditionalMutualInformation, with η called
`magnificationEta` and ν `privacyHardness`. With η = ν = 1 it is
f_FL(A ∪ P) + f_FL(Q ∪ P) − f_FL(A ∪ Q ∪ P) − f_FL(P). Nothing given (P = ∅) makes it FL1MI, and an
η beyond every value makes it FLCG. All three kernels are ≥ 0 and on one scale.
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


class FLCMI:
    """FLCMI of the sources of `view` with `queries`, given `given`; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self,
        view: PairwiseView,
        queries: PairwiseView,
        given: PairwiseView,
        *,
        eta: float = 1.0,
        nu: float = 1.0,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        """One pass over all three: `queries` (n_targets, n_queries), `given` (n_targets, n_given).

        ValueError if a value is < 0 or not finite, or if the targets differ.
        """
        check_same_targets(view.shape, queries.shape, "query")
        check_same_targets(view.shape, given.shape, "given")
        check_not_negative(min(map(lower_bound, (view, queries, given))), "FLCMI")
        self.view, self.queries, self.given, self.tile_bytes = view, queries, given, tile_bytes
        self.eta, self.nu = check_weight("eta", eta), check_weight("nu", nu)
        self.n = view.shape[1]
        self._cap = frozen(self.eta * best_over(queries, np.arange(queries.shape[1]), tile_bytes))
        self._start = frozen(self.nu * best_over(given, np.arange(given.shape[1]), tile_bytes))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the three kernels that decides a value."""
        return {"function": "flcmi", "eta": self.eta, "nu": self.nu}

    @property
    def coverage(self) -> Coverage:
        """The same function, in the form that all coverage functions share."""
        return Coverage(self.view, self.empty(), cap=self._cap)

    def empty(self) -> Gains:
        """What the given sources cover already, times ν, (n_targets,)."""
        return self._start

    def gains(self, state: Gains, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0."""
        return raises(self.view, state, candidates, cap=self._cap, tile_bytes=self.tile_bytes)

    def add(self, state: Gains, item: int) -> Gains:
        """The coverage once `item` is chosen as well."""
        return raised(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        covered = best_over(self.view, np.unique(items), self.tile_bytes)
        wanted = best_over(self.queries, np.arange(self.queries.shape[1]), self.tile_bytes)
        known = best_over(self.given, np.arange(self.given.shape[1]), self.tile_bytes)
        new = np.minimum(covered, self.eta * wanted) - self.nu * known
        return float(np.maximum(new, 0.0).sum())
