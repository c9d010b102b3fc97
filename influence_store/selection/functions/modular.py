"""What are the chosen sources worth one by one? (modular)

    f(A) = Σ_{j∈A} w_j

Sources do not know of each other, so greedy takes the largest scores and nothing beats it. Alone it
is top-k; as a part of a mixture it is the quality beside the coverage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.coverage import frozen
from influence_store.selection.functions.pairs import with_item
from influence_store.selection.tiles import check_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from influence_store.protocols import Flags, Gains, Ids


class Modular:
    """The sum of scores; submodular, and monotone where no score is negative."""

    submodular: bool = True

    def __init__(self, scores: npt.ArrayLike) -> None:
        """`scores` (n,), higher = better; ValueError unless n ≥ 1 and all are finite."""
        self.scores = frozen(np.array(scores, np.float64))
        if self.scores.ndim != 1 or not len(self.scores):
            raise ValueError(f"expected scores (n,), found shape {self.scores.shape}")
        self.n = len(self.scores)
        check_finite(np.arange(self.n), self.scores)
        self.monotone = bool((self.scores >= 0).all())

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the scores that decides a value."""
        return {"function": "modular"}

    def empty(self) -> Flags:
        """Which sources are chosen, (n,): none."""
        return np.zeros(self.n, np.bool_)

    def gains(self, state: Flags, candidates: Ids) -> Gains:
        """The score of each candidate; 0 for a source that is chosen already."""
        return np.where(state[candidates], 0.0, self.scores[candidates])

    def add(self, state: Flags, item: int) -> Flags:
        """The state once `item` is chosen as well."""
        return with_item(state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        return float(self.scores[np.unique(items)].sum())
