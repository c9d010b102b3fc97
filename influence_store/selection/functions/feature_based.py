"""Do the chosen sources have something of every feature? (concave over modular)

    f(A) = Σ_d w_d g( Σ_{j∈A} x[j, d] )

with g concave: √m, log(1 + m) or m / (1 + m). Kirchhoff and Bilmes (EMNLP 2014), submodlib's
FeatureBased (squareRoot, logarithmic, inverse), apricot's FeatureBasedSelection (sqrt, log,
sigmoid). Needs no pairs: memory and time go with n · d. submodlib stretches every feature to
[0, 1] first; here features count as they come.

A gain g(m + x) − g(m) is computed without the difference, so that it shrinks when m grows, also in
its last bit:

    √      x / (√(m + x) + √m)
    log    log(1 + x / (1 + m))
    inverse    x / ((1 + m) (1 + m + x))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from influence_store.selection.functions.checks import check_not_negative
from influence_store.selection.functions.coverage import frozen
from influence_store.selection.functions.pairs import with_item
from influence_store.selection.tiles import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Flags, Gains, Ids

Concave = Literal["sqrt", "log", "inverse"]
_CACHE_BYTES = 1 << 20


class Held(NamedTuple):
    """How much of each feature the chosen sources hold, (d,), and which they are, (n,)."""

    amount: Gains
    chosen: Flags


class FeatureBased:
    """Concave over modular in the columns of `features`; monotone and submodular."""

    submodular: bool = True
    monotone: bool = True

    def __init__(
        self,
        features: npt.NDArray[Any],
        *,
        concave: Concave = "sqrt",
        weights: npt.ArrayLike | None = None,
    ) -> None:
        """`features` (n, d) ≥ 0, `weights` (d,) ≥ 0, all 1 if left out.

        ValueError for a negative or missing feature or weight, or for an unknown concave function.
        """
        if concave not in get_args(Concave):
            known = ", ".join(get_args(Concave))
            raise ValueError(f"concave is {concave!r}; expected one of {known}")
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(f"expected features (n, d), found shape {features.shape}")
        self.features, self.concave = features, concave
        self.n, d = features.shape
        check_finite(np.arange(self.n), features)
        check_not_negative(float(features.min()), "a feature-based function")
        self.weights = frozen(np.array(np.ones(d) if weights is None else weights, np.float64))
        if self.weights.shape != (d,):
            raise ValueError(f"expected {d} weights, found shape {self.weights.shape}")
        if not (np.isfinite(self.weights) & (self.weights >= 0)).all():
            raise ValueError("a weight is negative or not finite; expected numbers ≥ 0")

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the features that decides a value."""
        weights = None if (self.weights == 1.0).all() else self.weights.tolist()
        return {"function": "feature-based", "concave": self.concave, "weights": weights}

    def empty(self) -> Held:
        """Nothing of any feature, no source chosen."""
        return Held(frozen(np.zeros(self.features.shape[1])), np.zeros(self.n, np.bool_))

    def gains(self, state: Held, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, ≥ 0; 0 for a source that is chosen already."""
        rise, gained = _RISES[self.concave], np.empty(len(candidates))
        height = max(1, _CACHE_BYTES // (8 * len(state.amount)))
        for start in range(0, len(candidates), height):
            more = self.features[candidates[start : start + height]].astype(np.float64)
            risen = self.weights * rise(state.amount, more)
            risen.sum(axis=1, out=gained[start : start + height])
        return np.where(state.chosen[candidates], 0.0, gained)

    def add(self, state: Held, item: int) -> Held:
        """The state once `item` is chosen as well."""
        if state.chosen[item]:
            return state
        return Held(frozen(state.amount + self.features[item]), with_item(state.chosen, item))

    def value(self, items: Ids) -> float:
        """f(items) by the formula above, ≥ 0."""
        amount: Doubles = self.features[np.unique(items)].sum(axis=0, dtype=np.float64)
        return float((self.weights * _CONCAVE[self.concave](amount)).sum())


def _rise_of_root(held: Doubles, more: Doubles) -> Doubles:
    roots = np.sqrt(held + more) + np.sqrt(held)
    rise: Doubles = np.divide(more, roots, out=np.zeros_like(more), where=more > 0)
    return rise


def _rise_of_log(held: Doubles, more: Doubles) -> Doubles:
    return np.log1p(more / (1.0 + held))


def _rise_of_inverse(held: Doubles, more: Doubles) -> Doubles:
    return more / ((1.0 + held) * (1.0 + held + more))


def _inverse(held: Doubles) -> Doubles:
    return held / (1.0 + held)


_CONCAVE: Mapping[str, Callable[[Doubles], Doubles]] = {
    "sqrt": np.sqrt,
    "log": np.log1p,
    "inverse": _inverse,
}
_RISES: Mapping[str, Callable[[Doubles, Doubles], Doubles]] = {
    "sqrt": _rise_of_root,
    "log": _rise_of_log,
    "inverse": _rise_of_inverse,
}
