"""How well is every target covered by all chosen sources together, up to enough? (saturated)

    f(A) = Σ_i min( Σ_{j∈A} S[i, j], α Σ_j S[i, j] )

Lin and Bilmes (ACL 2011, eq. 5), apricot's SaturatedCoverageSelection. Several mediocre sources
cover a target as well as one good one does; once a target has the share α of all there is, it
asks for no more. Monotone and submodular for values ≥ 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_not_negative, check_share
from influence_store.selection.functions.coverage import frozen, raises
from influence_store.selection.functions.pairs import Repeated, joined, margins
from influence_store.selection.tiles import TILE_BYTES, tiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Gains, Ids, PairwiseView


class SaturatedCoverage:
    """Saturated coverage over the sources of `view`; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self, view: PairwiseView, *, alpha: float = 0.1, tile_bytes: int = TILE_BYTES
    ) -> None:
        """One pass over `view`; ValueError if a value is < 0, or unless 0 < alpha ≤ 1."""
        sums = margins(view, tile_bytes)
        check_not_negative(sums.lowest, "saturated coverage")
        self.view, self.tile_bytes = view, tile_bytes
        self.alpha = check_share("alpha", alpha)
        self.n = view.shape[1]
        self._enough = frozen(self.alpha * sums.by_target)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "saturated-coverage", "alpha": self.alpha}

    def empty(self) -> Repeated:
        """Nothing chosen: what each target has, (n_targets,), and the chosen sources."""
        return Repeated(frozen(np.zeros(self.view.shape[0])), np.zeros(self.n, np.bool_))

    def gains(self, state: Repeated, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) = Σ_i min(S[i, j], what i still asks for), ≥ 0; 0 if chosen already.

        What a target asks for only shrinks, so a gain never grows, not by a rounding error either.
        """
        asked = np.maximum(self._enough - state.overlap, 0.0)
        nothing = np.zeros(len(asked))
        gained = raises(self.view, nothing, candidates, cap=asked, tile_bytes=self.tile_bytes)
        return np.where(state.chosen[candidates], 0.0, gained)

    def add(self, state: Repeated, item: int) -> Repeated:
        """The state once `item` is chosen as well."""
        return joined(self.view, state, item)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        covered = np.zeros(self.view.shape[0])
        for _, values in tiles(self.view, np.unique(items), self.tile_bytes):
            covered += values.sum(axis=0, dtype=np.float64)
        return float(np.minimum(covered, self._enough).sum())
