"""What do the chosen sources cover that the given ones do not? (FLCG, conditional gain)

    f(A) = Σ_i max( max_{j∈A} S[i, j] − ν max_{p∈P} S[i, p], 0 )

DELIFT's third stage, continual learning (arXiv 2411.04425, paper and code agree): P is what the
model was trained on before. submodlib calls it FacilityLocationConditionalGain and ν
`privacyHardness`. With ν = 1 it is f_FL(A ∪ P) − f_FL(P). Both kernels must be on one scale: unlike
plain facility location, f changes when only one of them is shifted or stretched (DELIFT's code
scales each by its own minimum and maximum). ν ≠ 1 has a meaning for values ≥ 0 only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_same_targets, check_weight
from influence_store.selection.functions.coverage import Coverage, frozen, raised, raises
from influence_store.selection.tiles import TILE_BYTES, best_over, check_filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class FLCG:
    """FLCG over the sources of `view` given those of `given`; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self,
        view: PairwiseView,
        given: PairwiseView,
        *,
        nu: float = 1.0,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        """One pass over `given` (n_targets, n_given); ValueError if it has a value not finite."""
        check_filled(view)
        check_filled(given)
        check_same_targets(view.shape, given.shape, "given")
        self.view, self.given, self.tile_bytes = view, given, tile_bytes
        self.nu = check_weight("nu", nu)
        self.n = view.shape[1]
        covered = best_over(given, np.arange(given.shape[1]), tile_bytes)
        if not np.isfinite(covered).all():
            raise ValueError("the given kernel has values that are not finite; expected numbers")
        self._start = frozen(self.nu * covered)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the two kernels that decides a value."""
        return {"function": "flcg", "nu": self.nu}

    @property
    def coverage(self) -> Coverage:
        """The same function, in the form that all coverage functions share."""
        return Coverage(self.view, self.empty())

    def empty(self) -> Gains:
        """What the given sources cover already, times ν, (n_targets,)."""
        return self._start

    def gains(self, state: Gains, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0."""
        return raises(self.view, state, candidates, tile_bytes=self.tile_bytes)

    def add(self, state: Gains, item: int) -> Gains:
        """The coverage once `item` is chosen as well."""
        return raised(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        new = best_over(self.view, np.unique(items), self.tile_bytes)
        old = best_over(self.given, np.arange(self.given.shape[1]), self.tile_bytes)
        return float(np.maximum(new - self.nu * old, 0.0).sum())
