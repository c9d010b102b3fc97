"""How far apart are the two closest of the chosen sources? (disparity min)

    f(A) = min_{j≠k∈A} ( 1 − S[j, k] ),    0 for fewer than two sources

submodlib's DisparityMin. Neither submodular nor monotone: from the third pick on every gain is ≤ 0,
so only sets of one size can be compared. Naive greedy is farthest-first traversal and reaches
half of the best where the distance obeys the triangle inequality (Ravi, Rosenkrantz and Tayi 1994);
for unit vectors √(1 − cos) does, so a quarter of the best 1 − cos is safe. The selector `k_center`
picks the same sources from the vectors themselves, without a kernel and at any n; its radius, the
distance of the worst covered sample, is no set function with gains that greedy could follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from influence_store.selection.functions.coverage import frozen
from influence_store.selection.functions.pairs import check_symmetric, with_item
from influence_store.selection.tiles import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Flags, Gains, Ids, PairwiseView


class Spread(NamedTuple):
    """The distance of every source to its nearest chosen one, (n,), the chosen, (n,), and f(A)."""

    nearest: Gains
    chosen: Flags
    value: float


class DisparityMin:
    """Disparity min over the sources of `view` (square); neither submodular nor monotone."""

    submodular: bool = False
    monotone: bool = False

    def __init__(self, view: PairwiseView) -> None:
        """ValueError if `view` is empty or not symmetric."""
        check_symmetric(view, "disparity min")
        self.view, self.n = view, view.shape[1]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "disparity-min"}

    def empty(self) -> Spread:
        """No source chosen, none near."""
        return Spread(frozen(np.full(self.n, np.inf)), np.zeros(self.n, np.bool_), 0.0)

    def gains(self, state: Spread, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j; 0 for a source that is chosen already.

        Above 0 for the second pick at most, ≤ 0 for every later one.
        """
        grown = _with_one_more(state, candidates)
        return np.where(state.chosen[candidates], 0.0, grown - state.value)

    def add(self, state: Spread, item: int) -> Spread:
        """The state once `item` is chosen as well."""
        if state.chosen[item]:
            return state
        apart = 1.0 - columns(self.view, np.array([item]))[0].astype(np.float64)
        value = float(_with_one_more(state, np.array([item]))[0])
        nearest = frozen(np.minimum(state.nearest, apart))
        return Spread(nearest, with_item(state.chosen, item), value)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        distinct = np.unique(items)
        if len(distinct) < 2:
            return 0.0
        apart = 1.0 - self.view.block(distinct, distinct).astype(np.float64)
        return float(apart[np.triu_indices(len(distinct), 1)].min())


def _with_one_more(state: Spread, candidates: Ids) -> Gains:
    """f(A ∪ {j}) for each candidate j that is not chosen."""
    nearest = state.nearest[candidates]
    match int(state.chosen.sum()):
        case 0:
            return np.zeros(len(candidates))
        case 1:
            return nearest
        case _:
            return np.minimum(nearest, state.value)
