"""What if every step looks at a random part of the sources only? (stochastic greedy)

Each step takes the best of R sources drawn from those that may join,

    R = (sources / picks) · ln(1 / eps),

in expectation at least 1 − 1/e − eps of the best set of that size (Mirzasoleiman et al. 2015,
"Lazier than lazy greedy", arXiv 1409.7938); nothing is proven under floors, ceilings or costs.
R depends on the budget, so a prefix is not the answer for a smaller one.
"""

from __future__ import annotations

from heapq import heapify
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.optimizers.greedy import Bound, pop_best
from influence_store.selection.optimizers.path import check_monotone, check_submodular, climb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Chosen, Ids, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.selection.optimizers.path import Path


class StochasticGreedy:
    """The best of a random part at every step, by the gains of the whole part."""

    def __init__(self, seed: int, eps: float = 0.01) -> None:
        """ValueError unless 0 < eps < 1."""
        if not 0 < eps < 1:
            raise ValueError(f"eps is {eps}; expected a number between 0 and 1")
        self.seed, self.eps = seed, eps

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """UsageError for limits that cannot be kept.

        ValueError if f is not submodular and monotone, or a gain is not finite.
        """
        check_submodular(function, type(self).__name__)
        check_monotone(function, type(self).__name__)
        return climb(function, limits, self._rule)

    def _rule(self, path: Path) -> Iterator[tuple[int, float]]:
        for part in self._parts(path):
            gains = path.gains(part)
            best = int(np.argmax(gains))
            yield int(part[best]), float(gains[best])

    def _parts(self, path: Path) -> Iterator[Ids]:
        """A random part of who may join, in order of position, until none may."""
        rng = np.random.default_rng(self.seed)
        left = path.candidates(np.arange(path.function.n))
        picks = max(path.limits.budget - len(path.items), 1)
        size = int(np.ceil(len(left) / picks * np.log(1 / self.eps)))
        while len(left):
            yield left[np.sort(rng.choice(len(left), min(size, len(left)), replace=False))]
            left = path.candidates(left)


class LazierThanLazyGreedy(StochasticGreedy):
    """The picks of `StochasticGreedy` under the same seed, from fewer gains.

    A source drawn again brings its old gain along as a bound, so the lazy loop serves each part.
    """

    def _rule(self, path: Path) -> Iterator[tuple[int, float]]:
        known: dict[int, Bound] = {}
        for part in self._parts(path):
            bounds = [known.get(j) or Bound(-np.inf, j, np.inf, -1) for j in part.tolist()]
            heapify(bounds)
            best = pop_best(path, bounds, per_cost=False)
            assert best is not None
            known.update((bound.source, bound) for bound in bounds)
            yield best.source, best.gain
