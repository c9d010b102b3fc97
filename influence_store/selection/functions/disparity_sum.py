"""How far are the chosen sources from each other, all pairs together? (disparity sum)

    f(A) = Σ_{{j,k}⊆A} d(j, k),    d(j, k) = max(1 − S[j, k], 0)

submodlib's DisparitySum, each pair once. Gains grow with A, so f is *not* submodular and the lazy
optimizers do not apply. Where d obeys the triangle inequality, greedy reaches half of the best set
of its size (Borodin, Lee and Ye, PODS 2012); 1 − cos does so up to a factor of 2 only. Sums reward
two far groups as much as an even spread: `disparity_min.py` asks for the spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.coverage import frozen
from influence_store.selection.functions.pairs import (
    Repeated,
    check_symmetric,
    nothing_chosen,
    with_item,
)
from influence_store.selection.tiles import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class DisparitySum:
    """Disparity sum over the sources of `view` (square); monotone, not submodular."""

    submodular: bool = False
    monotone: bool = True

    def __init__(self, view: PairwiseView) -> None:
        """ValueError if `view` is empty or not symmetric."""
        check_symmetric(view, "disparity sum")
        self.view, self.n = view, view.shape[1]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "disparity-sum"}

    def empty(self) -> Repeated:
        """No source chosen: its `overlap` holds Σ_{k∈A} d(j, k)."""
        return nothing_chosen(self.n)

    def gains(self, state: Repeated, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0; 0 for a source that is chosen already."""
        return np.where(state.chosen[candidates], 0.0, state.overlap[candidates])

    def add(self, state: Repeated, item: int) -> Repeated:
        """The state once `item` is chosen as well."""
        if state.chosen[item]:
            return state
        apart = np.maximum(1.0 - columns(self.view, np.array([item]))[0].astype(np.float64), 0.0)
        return Repeated(frozen(state.overlap + apart), with_item(state.chosen, item))

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        distinct = np.unique(items)
        apart = np.maximum(1.0 - self.view.block(distinct, distinct).astype(np.float64), 0.0)
        return float(np.triu(apart, 1).sum())
