"""Which sources span the largest volume? (log-determinant, the mode of a determinantal process)

    f(A) = log det( S_A + ε I )

submodlib's LogDeterminant (its `lambdaVal` is ε), for a symmetric positive semidefinite kernel. It
is submodular; with ε ≥ 1 no source ever lowers it, and then f is the mutual information of a
Gaussian process and its noisy samples. Sources count for being unlike each other only: what they
are good for is the business of another part of a mixture.

Greedy by an incremental Cholesky factor (Chen, Zhang and Zhou, NeurIPS 2018, arXiv 1709.05135):

    e_j = ( S[j, i] − Σ_k c_k[i] c_k[j] ) / d_i,    d_j² ← d_j² − e_j²,    gain_j = log d_j²

with i the source that joins. One row c_k (n,) is kept for each chosen source, so the state takes
8 n |A| bytes. Rows are subtracted one by one in the order chosen: no sum changes with the number
of threads, and d_j² never grows by a rounding error. It is never below ε, which is where it ends up
for a repetition of what is chosen already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from influence_store.selection.functions.coverage import frozen
from influence_store.selection.functions.pairs import check_symmetric, diagonal, with_item
from influence_store.selection.tiles import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Flags, Gains, Ids, PairwiseView

# Parts of the largest diagonal value. The rounding of a float32 kernel comes out of the factor
# about 1 / ε times larger, so a smaller ε would count noise; and what is left may be that wrong.
_SMALLEST, _ROUNDING = 5e-5, 1e-3


class Factor(NamedTuple):
    """d² of every source (n,), the rows of the factor in the order chosen, and the chosen (n,)."""

    left: Gains
    rows: tuple[Gains, ...]
    chosen: Flags


class LogDeterminant:
    """Log-determinant over the sources of `view` (square); submodular, monotone for ε ≥ 1."""

    submodular: bool = True

    def __init__(self, view: PairwiseView, *, regularisation: float = 1.0) -> None:
        """`regularisation` is ε, on the scale of the kernel: ≥ 5e-5 of its largest diagonal value.

        ValueError for a smaller ε, or if `view` is empty, not symmetric or has a value < 0 on its
        diagonal.
        """
        check_symmetric(view, "log-determinant")
        own = diagonal(view)
        largest = float(np.abs(own).max())
        smallest = _SMALLEST * largest
        if not (np.isfinite(regularisation) and regularisation > 0 and regularisation >= smallest):
            raise ValueError(
                f"regularisation is {regularisation}; expected a finite number > 0 and ≥ "
                f"{smallest:.3g}, what a float32 kernel of this size can tell from 0"
            )
        self.view, self.regularisation = view, float(regularisation)
        self.n, self.monotone = view.shape[1], regularisation >= 1
        self._off = _ROUNDING * largest
        self._start = self._checked(own + self.regularisation)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value."""
        return {"function": "log-determinant", "regularisation": self.regularisation}

    def empty(self) -> Factor:
        """No source chosen: d² is the diagonal."""
        return Factor(self._start, (), np.zeros(self.n, np.bool_))

    def gains(self, state: Factor, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j; 0 for a source that is chosen already."""
        return np.where(state.chosen[candidates], 0.0, np.log(state.left[candidates]))

    def add(self, state: Factor, item: int) -> Factor:
        """The state once `item` is chosen as well; ValueError if S is not semidefinite."""
        if state.chosen[item]:
            return state
        row = columns(self.view, np.array([item]))[0].astype(np.float64)
        for earlier in state.rows:
            row -= earlier[item] * earlier
        row /= np.sqrt(state.left[item])
        chosen = with_item(state.chosen, item)
        left = self._checked(np.where(chosen, state.left, state.left - row**2))
        return Factor(left, (*state.rows, frozen(row)), chosen)

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        distinct = np.unique(items)
        block = self.view.block(distinct, distinct).astype(np.float64)
        sign, logarithm = np.linalg.slogdet(block + self.regularisation * np.eye(len(distinct)))
        if sign <= 0:
            raise ValueError(f"{_NOT_SEMIDEFINITE}; the determinant of these sources is ≤ 0")
        return float(logarithm)

    def _checked(self, left: Gains) -> Gains:
        """d², no smaller than ε; ValueError if it is so by more than rounding."""
        wrong = ~(left >= self.regularisation - self._off)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"{_NOT_SEMIDEFINITE}; what is left of source {first} is "
                f"{left[first] - self.regularisation:.3g}, expected ≥ 0"
            )
        return frozen(np.maximum(left, self.regularisation))


_NOT_SEMIDEFINITE = (
    "log-determinant needs a positive semidefinite kernel, such as cosine or the product of one "
    "kind of vectors"
)
