"""In which order do sources join the selection? Greedy, three ways.

For a monotone submodular f with f(∅) = 0 the greedy set reaches at least 1 − 1/e of the best set
of its size (Nemhauser, Wolsey and Fisher 1978). Ties go to the lowest position. Exactly `budget`
sources are picked, also where the last ones gain nothing: their gains say so.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.progress import progress
from influence_store.protocols import Chosen
from influence_store.selection.tiles import check_finite

if TYPE_CHECKING:
    from influence_store.protocols import Gains, Ids, SetFunction

_FIRST_BATCH, _LARGEST_BATCH = 8, 64
_GAINS_AT_ONCE = 1024


class NaiveGreedy:
    """At every step the gain of every source left: slow, for any set function."""

    def maximize(self, function: SetFunction[Any], budget: int) -> Chosen:
        """ValueError if budget is outside 0..n or a gain is not finite."""
        _check_budget(function, budget)
        left, state = np.arange(function.n), function.empty()
        items, gained, evaluations = [], [], 0
        with progress("select", budget, "picks") as advance:
            for _ in range(budget):
                gains = _finite_gains(function, state, left)
                evaluations += len(left)
                best = int(np.argmax(gains))
                items.append(int(left[best]))
                gained.append(float(gains[best]))
                state, left = function.add(state, items[-1]), np.delete(left, best)
                advance(1)
        return _chosen(items, gained, evaluations)


class LazyGreedy:
    """The picks of `NaiveGreedy` from a small part of its gains (Minoux 1978).

    A gain can only shrink while the selection grows, so an old gain bounds the new one, and a
    source whose fresh gain tops all bounds is the best one. Bounds are refreshed in batches of
    8, 16, … 64: a little more arithmetic, far fewer calls.
    """

    def maximize(self, function: SetFunction[Any], budget: int) -> Chosen:
        """ValueError if budget is outside 0..n, f is not submodular, or a gain is not finite."""
        _check_budget(function, budget)
        _check_submodular(function, type(self).__name__)
        if budget == 0:
            return _chosen([], [], 0)
        state = function.empty()
        # (−bound, source, step of the bound): the top is the best bound, lowest position first.
        heap = [(-g, j, 0) for j, g in enumerate(_first_gains(function, state).tolist())]
        heapify(heap)
        items, gained, evaluations = [], [], function.n
        with progress("select", budget, "picks") as advance:
            for step in range(budget):
                batch = _FIRST_BATCH
                while heap[0][2] != step:
                    stale = _pop_stale(heap, step, batch)
                    gains = _finite_gains(function, state, stale)
                    for source, gain in zip(stale.tolist(), gains.tolist(), strict=True):
                        heappush(heap, (-gain, source, step))
                    evaluations += len(stale)
                    batch = min(2 * batch, _LARGEST_BATCH)
                negative, source, _ = heappop(heap)
                items.append(source)
                gained.append(-negative)
                state = function.add(state, source)
                advance(1)
        return _chosen(items, gained, evaluations)


class StochasticGreedy:
    """At every step the best of a random part of the sources left, (n / budget) · ln(1 / eps) many.

    In expectation at least 1 − 1/e − eps of the best set (Mirzasoleiman et al. 2015,
    arXiv 1409.7938). The part depends on the budget, so a prefix is not the answer for a smaller
    budget.
    """

    def __init__(self, seed: int, eps: float = 0.01) -> None:
        """ValueError unless 0 < eps < 1."""
        if not 0 < eps < 1:
            raise ValueError(f"eps is {eps}; expected a number between 0 and 1")
        self.seed, self.eps = seed, eps

    def maximize(self, function: SetFunction[Any], budget: int) -> Chosen:
        """ValueError if budget is outside 0..n, f is not submodular, or a gain is not finite."""
        _check_budget(function, budget)
        _check_submodular(function, type(self).__name__)
        rng = np.random.default_rng(self.seed)
        left, state = np.arange(function.n), function.empty()
        items, gained, evaluations = [], [], 0
        size = int(np.ceil(function.n / max(budget, 1) * np.log(1 / self.eps)))
        with progress("select", budget, "picks") as advance:
            for _ in range(budget):
                part = np.sort(rng.choice(len(left), min(size, len(left)), replace=False))
                gains = _finite_gains(function, state, left[part])
                evaluations += len(part)
                best = int(part[np.argmax(gains)])
                items.append(int(left[best]))
                gained.append(float(gains.max()))
                state, left = function.add(state, items[-1]), np.delete(left, best)
                advance(1)
        return _chosen(items, gained, evaluations)


def _check_budget(function: SetFunction[Any], budget: int) -> None:
    """ValueError unless 0 ≤ budget ≤ n."""
    if not 0 <= budget <= function.n:
        raise ValueError(f"budget is {budget}; expected 0 to {function.n}, the number of sources")


def _check_submodular(function: SetFunction[Any], optimizer: str) -> None:
    """ValueError if old gains are no bounds for new ones."""
    if not function.submodular:
        raise ValueError(
            f"{optimizer} relies on gains that never grow and {type(function).__name__} is not "
            "submodular; use NaiveGreedy"
        )


def _first_gains(function: SetFunction[Any], state: Any) -> Gains:
    """The gain of every source alone, (n,): the one full pass over the kernel."""
    gains = np.empty(function.n)
    with progress("first gains", function.n, "sources") as advance:
        for start in range(0, function.n, _GAINS_AT_ONCE):
            sources = np.arange(start, min(start + _GAINS_AT_ONCE, function.n))
            gains[sources] = _finite_gains(function, state, sources)
            advance(len(sources))
    return gains


def _finite_gains(function: SetFunction[Any], state: Any, candidates: Ids) -> Gains:
    """`function.gains`, none of them NaN or infinite."""
    gains = function.gains(state, candidates)
    check_finite(candidates, gains)
    return gains


def _pop_stale(heap: list[tuple[float, int, int]], step: int, most: int) -> Ids:
    """Remove and return up to `most` sources from the top, up to the first with a fresh gain."""
    stale: list[int] = []
    while heap and len(stale) < most and heap[0][2] != step:
        stale.append(heappop(heap)[1])
    return np.array(stale)


def _chosen(items: list[int], gains: list[float], evaluations: int) -> Chosen:
    return Chosen(np.array(items, np.int64), np.array(gains, np.float64), evaluations)
