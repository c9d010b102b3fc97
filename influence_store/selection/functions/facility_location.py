"""How well is every target covered by its best chosen source? (facility location, FL)

    f(A) = Σ_i ( max(floor, max_{j∈A} S[i, j]) − floor )

DELIFT's first stage, instruction tuning (arXiv 2411.04425). With a floor no larger than the
smallest value, f differs from the textbook Σ_i max_{j∈A} S[i, j] by a constant only, the picks do
not change when a row is shifted as a whole or all values are scaled, and negative values count
as what they are. submodlib starts its running maximum at 0, which is `floor=0`: there every
negative value counts as 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.coverage import Coverage, frozen, raised, raises
from influence_store.selection.tiles import TILE_BYTES, best_over, check_filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class FacilityLocation:
    """FL over the sources of `view`; monotone and submodular for every kernel."""

    submodular: bool = True
    monotone: bool = True

    def __init__(self, view: PairwiseView, floor: float, *, tile_bytes: int = TILE_BYTES) -> None:
        """`floor`: usually `lower_bound(view)`; ValueError if it is not finite."""
        check_filled(view)
        if not np.isfinite(floor):
            raise ValueError(f"floor is {floor}; expected a finite number, e.g. lower_bound(view)")
        self.view, self.floor, self.tile_bytes = view, float(floor), tile_bytes
        self.n = view.shape[1]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "facility-location", "floor": self.floor}

    @property
    def coverage(self) -> Coverage:
        """The same function, in the form that all coverage functions share."""
        return Coverage(self.view, self.empty())

    def empty(self) -> Gains:
        """Every target at the floor, (n_targets,)."""
        return frozen(np.full(self.view.shape[0], self.floor))

    def gains(self, state: Gains, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0."""
        return raises(self.view, state, candidates, tile_bytes=self.tile_bytes)

    def add(self, state: Gains, item: int) -> Gains:
        """The coverage once `item` is chosen as well."""
        return raised(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0, higher = better covered."""
        best = best_over(self.view, np.unique(items), self.tile_bytes)
        return float((np.maximum(best, self.floor) - self.floor).sum())
