"""What if several things count? (non-negative mixture)

    f(A) = Σ_m w_m f_m(A),    w_m ≥ 0

Sums of monotone functions are monotone and sums of submodular ones submodular, so every guarantee
that all parts have holds for the mixture (Lin and Bilmes, UAI 2012). A negative weight would
undo both and is refused. Parts come with their own scales: a weight says nothing until one knows
how large each part gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.functions.checks import check_weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.protocols import Gains, Ids, SetFunction


class Mixture:
    """Weighted sum of set functions over the same sources; as well-behaved as all its parts."""

    def __init__(self, functions: Sequence[SetFunction[Any]], weights: Sequence[float]) -> None:
        """ValueError for no parts, unequal numbers of sources, or a weight < 0 or not finite."""
        if not functions or len(functions) != len(weights):
            raise ValueError(
                f"found {len(functions)} functions and {len(weights)} weights; expected at least "
                "one function and a weight for each"
            )
        sizes = sorted({one.n for one in functions})
        if len(sizes) > 1:
            raise ValueError(f"parts over {sizes} sources; expected the same sources for all")
        self.functions = tuple(functions)
        self.weights = tuple(check_weight("a weight", weight) for weight in weights)
        self.n = sizes[0]
        counting = [f for f, w in zip(self.functions, self.weights, strict=True) if w > 0]
        self.submodular = all(one.submodular for one in counting)
        self.monotone = all(one.monotone for one in counting)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernels of the parts that decides a value."""
        parts = [
            {"weight": weight, **one.facts}
            for one, weight in zip(self.functions, self.weights, strict=True)
        ]
        return {"function": "mixture", "parts": parts}

    def empty(self) -> tuple[Any, ...]:
        """The empty state of every part."""
        return tuple(one.empty() for one in self.functions)

    def gains(self, state: tuple[Any, ...], candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j."""
        total = np.zeros(len(candidates))
        for one, weight, part in zip(self.functions, self.weights, state, strict=True):
            total += weight * one.gains(part, candidates)
        return total

    def add(self, state: tuple[Any, ...], item: int) -> tuple[Any, ...]:
        """The state once `item` is chosen as well."""
        return tuple(one.add(part, item) for one, part in zip(self.functions, state, strict=True))

    def value(self, items: Ids) -> float:
        """f(items) by the formula above."""
        return float(
            sum(w * one.value(items) for one, w in zip(self.functions, self.weights, strict=True))
        )
