"""What if every source is seen once, in the order it arrives? (sieve-streaming)

For every guess v = (1 + eps)^i of the best value, one sieve keeps a source where

    gain ≥ (v/2 − f(A_v)) / (budget − |A_v|),

and the fullest sieve wins: at least 1/2 − eps of the best set of that size (Badanidiyuru et al.
2014, Algorithm 3). With m the best single source so far, only guesses between m and 2·budget·m
can matter: log(2·budget)/log(1 + eps) sieves at a time, whatever n is.

Sources are read in batches. That changes no pick: a sieve opened for a new m would have refused
everything before it, and thresholds fall while a sieve fills. Fewer than `budget` sources may be
picked, in order of position. Floors, ceilings and costs are refused: the bound is for budgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.progress import progress
from influence_store.selection.limits import limits_of
from influence_store.selection.optimizers.path import check_monotone, check_submodular, climb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Chosen, Gains, Ids, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.selection.optimizers.path import Path


class SieveStreaming:
    """One pass over the sources in order of position."""

    def __init__(self, eps: float = 0.1, batch: int = 256) -> None:
        """ValueError unless 0 < eps < 1/2 and a batch holds a source."""
        if not (0 < eps < 0.5 and batch >= 1):
            raise ValueError(
                f"eps is {eps} and batch {batch}; expected eps between 0 and 0.5, batch ≥ 1"
            )
        self.eps, self.batch = eps, batch

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """UsageError for limits other than budget, start and barred.

        ValueError if f is not submodular and monotone, or a gain is not finite.
        """
        check_submodular(function, type(self).__name__)
        check_monotone(function, type(self).__name__)
        limits = limits_of(limits)
        if limits.costs is not None or limits.groups is not None:
            raise UsageError(
                "SieveStreaming keeps a budget, and no costs, floors or ceilings",
                hint="use LazyGreedy",
            )
        return climb(function, limits, self._rule)

    def _rule(self, path: Path) -> Iterator[tuple[int, float]]:
        stream = path.candidates(np.arange(path.function.n))
        room = path.limits.budget - len(path.items)
        sieves: dict[int, _Sieve] = {}
        best_single = 0.0
        with progress("stream", len(stream), "sources") as advance:
            for start in range(0, len(stream), self.batch):
                part = stream[start : start + self.batch]
                single = path.gains(part)
                best_single = max(best_single, float(single.max()))
                guesses = self._guesses(best_single, room)
                sieves = {i: sieves.get(i) or _Sieve(path.state) for i in guesses}
                for i, sieve in sieves.items():
                    sieve.pass_through(path, part, single, (1 + self.eps) ** i / 2, room)
                advance(len(part))
        if sieves:
            yield from max(sieves.values(), key=lambda sieve: sieve.value).picks

    def _guesses(self, best_single: float, room: int) -> range:
        """Exponents i with best_single ≤ (1 + eps)^i ≤ 2 · room · best_single."""
        if best_single <= 0 or room < 1:
            return range(0)
        ends = np.log([best_single, 2 * room * best_single]) / np.log1p(self.eps)
        return range(int(np.ceil(ends[0])), int(np.floor(ends[1])) + 1)


@dataclass
class _Sieve:
    """What one guess has kept; `value` counts from the start of the stream."""

    state: Any
    picks: list[tuple[int, float]] = field(default_factory=list)
    value: float = 0.0

    def pass_through(self, path: Path, part: Ids, single: Gains, goal: float, room: int) -> None:
        """Keep what of `part` is above the threshold; `single` bounds its gains from above."""
        at = 0
        while len(self.picks) < room:
            threshold = (goal - self.value) / (room - len(self.picks))
            hopeful = at + np.flatnonzero(single[at:] >= threshold)
            gains = path.function.gains(self.state, part[hopeful])
            path.evaluations += len(hopeful)
            above = np.flatnonzero(gains >= threshold)
            if not len(above):
                return
            gain, at = float(gains[above[0]]), int(hopeful[above[0]])
            source = int(part[at])
            self.state = path.function.add(self.state, source)
            self.picks.append((source, gain))
            self.value += gain
            at += 1
