"""How does a selection grow, whoever chooses the next source?

Every greedy optimizer is a rule: a generator that yields (source, gain) and finds the path one
step longer when it goes on. The path knows what is chosen, what each pick gained and who may
still join. Picks of `start` come first, in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from influence_store.progress import progress
from influence_store.protocols import Chosen
from influence_store.selection.limits import limits_of
from influence_store.selection.room import fits, room_of, take
from influence_store.selection.tiles import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from influence_store.protocols import Gains, Ids, SetFunction
    from influence_store.selection.limits import Limits

    Rule = Callable[["Path"], Iterator[tuple[int, float]]]

_GAINS_AT_ONCE = 1024


class Greedy(Protocol):
    """What other optimizers build on: `greedy.LazyGreedy`, or something faster."""

    def maximize(self, function: SetFunction[Any], limits: Limits, /) -> Chosen:
        """As `LazyGreedy.maximize`."""
        ...


class Path:
    """A growing selection under limits; `evaluations` counts the gains asked for."""

    def __init__(self, function: SetFunction[Any], limits: Limits | int) -> None:
        """UsageError for limits that cannot be kept (`room.room_of`)."""
        self.function, self.limits = function, limits_of(limits)
        self.room = room_of(self.limits, function.n)
        self.state: Any = function.empty()
        self.items: list[int] = []
        self.gained: list[float] = []
        self.evaluations = 0

    def candidates(self, sources: Ids) -> Ids:
        """Those of `sources` that may join now."""
        may = fits(self.room, sources)
        return sources if may.all() else sources[may]

    def gains(self, candidates: Ids) -> Gains:
        """The gain of every candidate now; ValueError if one is NaN or infinite."""
        if not len(candidates):
            return np.zeros(0)
        gains = self.function.gains(self.state, candidates)
        check_finite(candidates, gains)
        self.evaluations += len(candidates)
        return gains

    def first_gains(self, candidates: Ids) -> Gains:
        """`gains` of very many, with progress: the one full pass over the kernel."""
        gains = np.empty(len(candidates))
        with progress("first gains", len(candidates), "sources") as advance:
            for start in range(0, len(candidates), _GAINS_AT_ONCE):
                part = slice(start, start + _GAINS_AT_ONCE)
                gains[part] = self.gains(candidates[part])
                advance(len(candidates[part]))
        return gains

    def wanted(self, sources: Any, gains: Any) -> Any:
        """False for what would lower f, unless a floor is owed it (a source, or an array).

        Where f is monotone, a gain below 0 is a rounding error; where it is not submodular, a gain
        below 0 says nothing of later ones.
        """
        owed = self.room.unmet[self.room.group[sources]] > 0
        return owed | (gains >= 0) | self.function.monotone | (not self.function.submodular)

    def add(self, source: int, gain: float) -> None:
        """`source` is chosen, having gained `gain`."""
        self.items.append(source)
        self.gained.append(gain)
        self.state = self.function.add(self.state, source)

    def chosen(self) -> Chosen:
        """The selection so far."""
        return Chosen(
            np.array(self.items, np.int64), np.array(self.gained, np.float64), self.evaluations
        )


def climb(function: SetFunction[Any], limits: Limits | int, rule: Rule) -> Chosen:
    """Start, then whatever `rule` yields until it ends."""
    path = Path(function, limits)
    with progress("select", path.limits.budget, "picks") as advance:
        for source in path.limits.start.tolist():
            path.add(source, float(path.gains(np.array([source]))[0]))
            advance(1)
        for source, gain in rule(path):
            take(path.room, source)
            path.add(source, gain)
            advance(1)
    return path.chosen()


def check_submodular(function: SetFunction[Any], optimizer: str) -> None:
    """ValueError if old gains are no bounds for new ones."""
    if not function.submodular:
        raise ValueError(
            f"{optimizer} relies on gains that never grow and {type(function).__name__} is not "
            "submodular; use NaiveGreedy"
        )


def check_monotone(function: SetFunction[Any], optimizer: str) -> None:
    """ValueError if a source can lower f."""
    if not function.monotone:
        raise ValueError(
            f"{optimizer} relies on gains ≥ 0 and {type(function).__name__} is not monotone; "
            "use LazyGreedy, which stops before f falls"
        )
