"""In which order do sources join? The largest gain first; or the largest gain per cost.

For a monotone submodular f with f(∅) = 0 the greedy set reaches at least

    1 − 1/e   of the best set of its size (Nemhauser, Wolsey and Fisher 1978),
    1/2       of the best set under floors and ceilings per group, a matroid (Fisher, Nemhauser
              and Wolsey 1978), and nothing certain under costs: see `knapsack.py`.

Ties go to the lowest position. Sources join until none fits the limits, also those that gain
nothing: their gains say so. A function that is not monotone stops before its value falls, except
for what a floor is owed, and nothing is promised then. Without floors and costs every prefix is
the answer for its own size; a floor or a cost limit reserves differently under another budget.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from influence_store.selection.optimizers.path import check_submodular, climb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Chosen, Gains, Ids, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.selection.optimizers.path import Path

_FIRST_BATCH, _LARGEST_BATCH = 8, 64


class NaiveGreedy:
    """At every step the gain of every source left: slow, for any set function."""

    def __init__(self, *, per_cost: bool = False) -> None:
        """`per_cost`: the largest gain / cost joins, not the largest gain."""
        self.per_cost = per_cost

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """UsageError for limits that cannot be kept, ValueError if a gain is not finite."""
        return climb(function, limits, self._rule)

    def _rule(self, path: Path) -> Iterator[tuple[int, float]]:
        left = np.arange(path.function.n)
        while len(left := path.candidates(left)):
            gains = path.gains(left)
            wanted = path.wanted(left, gains)
            if not wanted.any():
                return
            worth = worth_of(path, left, gains, per_cost=self.per_cost)
            best = int(np.argmax(np.where(wanted, worth, -np.inf)))
            yield int(left[best]), float(gains[best])


class LazyGreedy:
    """The picks of `NaiveGreedy` from a small part of its gains (Minoux 1978).

    A gain can only shrink while the selection grows, so an old gain bounds the new one, and a
    source whose fresh gain tops all bounds is the best one.
    """

    def __init__(self, *, per_cost: bool = False) -> None:
        """`per_cost`: the largest gain / cost joins, not the largest gain."""
        self.per_cost = per_cost

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """As `NaiveGreedy.maximize`; ValueError also if f is not submodular."""
        check_submodular(function, type(self).__name__)
        return climb(function, limits, self._rule)

    def _rule(self, path: Path) -> Iterator[tuple[int, float]]:
        candidates = path.candidates(np.arange(path.function.n))
        bounds = bounds_of(path, candidates, path.first_gains(candidates), per_cost=self.per_cost)
        heapify(bounds)
        while best := pop_best(path, bounds, per_cost=self.per_cost):
            yield best.source, best.gain


class Bound(NamedTuple):
    """What a source is worth at most; in a heap the best bound, lowest position, comes first."""

    minus_worth: float
    source: int
    gain: float
    size: int  #: of the selection when the gain was taken


def worth_of(path: Path, sources: Ids, gains: Gains, *, per_cost: bool) -> Gains:
    """What decides: the gains, or the gains per cost (equal where nothing costs)."""
    return gains / path.room.cost[sources] if per_cost and path.limits.costs is not None else gains


def bounds_of(path: Path, sources: Ids, gains: Gains, *, per_cost: bool) -> list[Bound]:
    """The bounds that gains taken now give."""
    worth = worth_of(path, sources, gains, per_cost=per_cost)
    size = len(path.items)
    pairs = zip(worth.tolist(), sources.tolist(), gains.tolist(), strict=True)
    return [Bound(-most, source, gain, size) for most, source, gain in pairs]


def pop_best(path: Path, bounds: list[Bound], *, per_cost: bool) -> Bound | None:
    """Remove and return the source of the heap that is worth most now; None if none may join.

    The lazy loop. Bounds are refreshed in batches of 8, 16, … 64: a little more arithmetic, far
    fewer calls. A source that does not fit, or would lower f, will never do better: it is dropped.
    """
    now, batch = len(path.items), _FIRST_BATCH
    while bounds:
        if bounds[0].size == now:
            best = heappop(bounds)
            if path.wanted(best.source, best.gain):
                return best
            continue
        stale = path.candidates(_pop_stale(bounds, now, batch))
        for bound in bounds_of(path, stale, path.gains(stale), per_cost=per_cost):
            heappush(bounds, bound)
        batch = min(2 * batch, _LARGEST_BATCH)
    return None


def _pop_stale(bounds: list[Bound], now: int, most: int) -> Ids:
    """Remove and return up to `most` sources from the top, up to the first fresh bound."""
    stale: list[int] = []
    while bounds and len(stale) < most and bounds[0].size != now:
        stale.append(heappop(bounds).source)
    return np.array(stale, np.int64)
