"""Which sources serve the queries, and are served by them? (FLQMI, the variant over queries)

    f(A) = Σ_{q∈Q} max_{j∈A} S[q, j]  +  η Σ_{j∈A} max_{q∈Q} S[q, j]

The first sum covers every query, the second asks each chosen source to be close to some query:
small η = diverse, large η = relevant. submodlib has it as
FacilityLocationVariantMutualInformation. DELIFT (arXiv 2411.04425) prints it for its second stage
with the rows of the pool in the first sum; its released code calls another function, FL1MI
(`fl1mi.py`). Values must not be negative: with max ∅ = 0, a negative one would count in the
second sum and not in the first, and f would no longer be monotone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from influence_store.progress import progress
from influence_store.selection.functions.checks import check_not_negative, check_weight
from influence_store.selection.functions.coverage import Coverage, frozen, raised, raises
from influence_store.selection.tiles import (
    TILE_BYTES,
    best_over,
    check_filled,
    check_finite,
    tiles,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from influence_store.protocols import Gains, Ids, PairwiseView


class Served(NamedTuple):
    """How well each query is covered (n_queries,), and which sources are chosen (n_sources,)."""

    level: Gains
    chosen: npt.NDArray[np.bool_]


class FLQMI:
    """FLQMI over the sources of `view`, whose rows are the queries; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self, view: PairwiseView, *, eta: float = 1.0, tile_bytes: int = TILE_BYTES
    ) -> None:
        """One pass over `view`; ValueError if a value is negative or not finite."""
        self.view, self.tile_bytes = view, tile_bytes
        self.eta = check_weight("eta", eta)
        self.n = view.shape[1]
        self._relevance = frozen(self.eta * _best_query(view, tile_bytes))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "flqmi", "eta": self.eta}

    @property
    def coverage(self) -> Coverage:
        """The same function, in the form that all coverage functions share."""
        return Coverage(self.view, self.empty().level, bonus=self._relevance)

    def empty(self) -> Served:
        """No query covered, no source chosen."""
        return Served(frozen(np.zeros(self.view.shape[0])), np.zeros(self.n, np.bool_))

    def gains(self, state: Served, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0; 0 for a source that is chosen already."""
        covered = raises(self.view, state.level, candidates, tile_bytes=self.tile_bytes)
        return covered + np.where(state.chosen[candidates], 0.0, self._relevance[candidates])

    def add(self, state: Served, item: int) -> Served:
        """The state once `item` is chosen as well."""
        chosen = state.chosen.copy()
        chosen[item] = True
        return Served(raised(self.view, state.level, item), chosen)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        distinct = np.unique(items)
        covered = np.maximum(best_over(self.view, distinct, self.tile_bytes), 0.0).sum()
        relevant = sum(
            float(values.max(axis=1).sum(dtype=np.float64))
            for _, values in tiles(self.view, distinct, self.tile_bytes)
        )
        return float(covered + self.eta * relevant)


def _best_query(view: PairwiseView, tile_bytes: int) -> Gains:
    """max_q S[q, j] for every source j, (n_sources,); checks every value on the way."""
    check_filled(view)
    best, lowest = np.empty(view.shape[1]), np.inf
    with progress("best query", view.shape[1], "sources") as advance:
        for sources, values in tiles(view, np.arange(view.shape[1]), tile_bytes):
            check_finite(sources, values)
            best[sources] = values.max(axis=1)
            lowest = min(lowest, float(values.min()))
            advance(len(sources))
    check_not_negative(lowest, "FLQMI")
    return best
