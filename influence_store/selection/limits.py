"""What may a selection hold? A budget, costs, quotas, picks that stay, samples that must not join.

A set A is allowed if

    |A| ≤ budget,  Σ_{j∈A} cost_j ≤ most,  floor_g ≤ |A ∩ g| ≤ ceiling_g for every group g,
    start ⊆ A,     and no j ∈ A is barred.

Contradictions are found here, before a single value is read; `room.py` keeps the rules while a
selection grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Flags, Ids


def _nobody() -> Ids:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Limits:
    """The allowed sets over sources 0..n-1; a plain int stands for `Limits(budget)`.

    budget    sources at most, those of `start` among them
    costs     (n,) > 0, e.g. tokens; sums are exact for whole numbers
    most      Σ costs of the chosen at most, those of `start` among them; inf = any
    groups    (n,) the group 0..g-1 of each source, e.g. its licence
    floors    (g,) sources of each group at least
    ceilings  (g,) sources of each group at most
    start     sources that are chosen already, in their order (warm start)
    barred    (n,) True where a source must not be picked (a leak, a duplicate)
    names     (g,) what the groups are called, for messages only
    """

    budget: int
    costs: Doubles | None = None
    most: float = float("inf")
    groups: Ids | None = None
    floors: Ids | None = None
    ceilings: Ids | None = None
    start: Ids = field(default_factory=_nobody)
    barred: Flags | None = None
    names: tuple[str, ...] = ()

    @property
    def n_groups(self) -> int:
        """How many groups there are; 1 where nothing is grouped."""
        for one in (self.floors, self.ceilings):
            if one is not None:
                return len(one)
        return 1 if self.groups is None else int(self.groups.max(initial=0)) + 1

    def check(self, n: int) -> None:
        """UsageError for limits that contradict themselves or do not fit n sources.

        What the picks of `start` leave to the others is checked when they take their seats
        (`room.room_of`).
        """
        if not 0 <= self.budget <= n:
            raise UsageError(f"budget is {self.budget}; expected 0 to {n}, the number of sources")
        _check_lengths(self, n)
        _check_costs(self)
        _check_start(self, n)
        if self.groups is not None:
            _check_groups(self)
            _check_floors(self, self.groups, open_sources(self, n))

    def called(self, group: int | np.signedinteger[Any]) -> str:
        """The name of a group, or its number."""
        return repr(self.names[group]) if group < len(self.names) else str(group)


def limits_of(limits: Limits | int) -> Limits:
    """`limits`; a number is a budget and nothing else."""
    return limits if isinstance(limits, Limits) else Limits(int(limits))


def open_sources(limits: Limits, n: int) -> Flags:
    """(n,) True where a source is not barred."""
    return np.ones(n, np.bool_) if limits.barred is None else ~limits.barred


def _check_lengths(limits: Limits, n: int) -> None:
    for name in ("costs", "groups", "barred"):
        values = getattr(limits, name)
        if values is not None and values.shape != (n,):
            raise UsageError(f"{name} are {values.shape}; expected one for each of {n} sources")
    if limits.barred is not None and limits.barred.dtype != np.bool_:
        raise UsageError(f"barred is of type {limits.barred.dtype}; expected True or False")
    if limits.groups is None and not (limits.floors is None and limits.ceilings is None):
        raise UsageError("floors and ceilings need groups; expected the group of each source")


def _check_costs(limits: Limits) -> None:
    if np.isnan(limits.most) or limits.most < 0:
        raise UsageError(f"the costs may sum up to {limits.most}; expected a number ≥ 0")
    if limits.costs is None:
        if np.isfinite(limits.most):
            raise UsageError(f"nothing may cost more than {limits.most:g}, and no costs are given")
        return
    wrong = ~(np.isfinite(limits.costs) & (limits.costs > 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UsageError(
            f"{int(wrong.sum())} costs are not above 0, the first at position {first} "
            f"({limits.costs[first]:g}); expected what each source costs"
        )


def _check_start(limits: Limits, n: int) -> None:
    start = limits.start
    if not len(start):
        return
    if start.min() < 0 or start.max() >= n:
        raise UsageError(f"start holds positions outside 0 to {n - 1}, those of the sources")
    if len(np.unique(start)) != len(start):
        raise UsageError("start names a source twice; expected each once")
    if limits.barred is not None and limits.barred[start].any():
        both = start[limits.barred[start]]
        raise UsageError(
            f"{len(both)} sources of the start are barred, the first at position {both[0]}",
            hint="leave them out of the start, or allow them",
        )


def _check_groups(limits: Limits) -> None:
    groups, count = limits.groups, limits.n_groups
    assert groups is not None
    if len(groups) and (groups.min() < 0 or groups.max() >= count):
        raise UsageError(
            f"groups run from {groups.min()} to {groups.max()}; expected 0 to {count - 1}, "
            "one floor and one ceiling for each"
        )
    for name in ("floors", "ceilings"):
        values = getattr(limits, name)
        if values is not None and (values.shape != (count,) or (values < 0).any()):
            raise UsageError(f"{name} are {values.tolist()}; expected {count} numbers ≥ 0")
    if limits.floors is not None and limits.ceilings is not None:
        for group in np.flatnonzero(limits.floors > limits.ceilings):
            raise UsageError(
                f"group {limits.called(group)} has the floor {limits.floors[group]} above its "
                f"ceiling {limits.ceilings[group]}"
            )


def _check_floors(limits: Limits, groups: Ids, free: Flags) -> None:
    if limits.floors is None:
        return
    sizes = np.bincount(groups[free], minlength=limits.n_groups)
    for group in np.flatnonzero(limits.floors > sizes):
        raise UsageError(
            f"group {limits.called(group)} has the floor {limits.floors[group]} and only "
            f"{sizes[group]} sources that may be picked",
            hint="lower that floor",
        )
    if limits.floors.sum() > limits.budget:
        raise UsageError(
            f"the floors ask for {limits.floors.sum()} sources and the budget allows "
            f"{limits.budget}",
            hint="raise the budget or lower the floors",
        )
