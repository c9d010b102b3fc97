"""Who may still join a selection? One rule, answered in O(1) per source.

Sources that are still owed to a floor have a seat, and the money of the cheapest sources that can
take it, set aside. So j may join if it is open, its group is below its ceiling, and it either
takes a seat that its group is owed or one of the free ones, at no more than the money left:

    cost_j − credit_g ≤ money,   credit_g = the dearest of the sources kept for group g (or 0)

A selection that grows by this rule never misses a floor. Who may not join now may never join
later. Without costs the sets it admits are those with |A ∩ g| ≤ ceiling_g and
Σ_g max(|A ∩ g|, floor_g) ≤ budget, a matroid (El Halabi et al., NeurIPS 2020, lemma 4.1).

The state is a tuple of arrays and the rule plain arithmetic on them: `numba.njit` compiles `fits`
and `take` as they stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from influence_store.errors import UsageError
from influence_store.selection.limits import open_sources

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Flags, Ids
    from influence_store.selection.limits import Limits


class Room(NamedTuple):
    """What is left of the limits; `take` changes it in place."""

    open: Flags  #: (n,) neither barred nor chosen
    cost: Doubles  #: (n,) 0 where nothing costs
    group: Ids  #: (n,)
    seats: Ids  #: (g,) sources until the ceiling
    unmet: Ids  #: (g,) sources still owed to the floor
    free: Ids  #: (1,) picks left that are not owed to any floor
    money: Doubles  #: (1,) cost left that is not set aside for any floor
    credit: Doubles  #: (g,) the dearest cost set aside for the group
    by_cost: Ids  #: the open sources by group, cost, position; empty without floors
    place: Ids  #: (n,) where in `by_cost` a source stands
    last: Ids  #: (g,) place of the dearest source kept for the group


def room_of(limits: Limits, n: int) -> Room:
    """The room over n sources once `start` has joined.

    UsageError if the limits contradict themselves, if the floors or `start` do not fit them, or
    if nothing can be afforded.
    """
    limits.check(n)
    room = _empty(limits, n)
    if room.money[0] < 0:
        raise UsageError(
            f"the cheapest sources that meet the floors cost {limits.most - room.money[0]:g} and "
            f"all may cost {limits.most:g}",
            hint="lower the floors or allow more",
        )
    for rank, source in enumerate(limits.start.tolist()):
        if not fits(room, source):
            why = _refusal(room, limits, source)
            raise UsageError(
                f"pick {rank + 1} of the start (position {source}) {why}",
                hint="allow more, or start from fewer",
            )
        take(room, source)
    if not len(limits.start) and limits.budget and limits.costs is not None:
        _check_affordable(room, limits)
    return room


def fits(room: Room, source: Any) -> Any:
    """Whether `source` (a position, or an array of them) may join now."""
    group = room.group[source]
    return (
        room.open[source]
        & (room.seats[group] > 0)
        & ((room.unmet[group] > 0) | (room.free[0] > 0))
        & (room.cost[source] - room.credit[group] <= room.money[0])
    )


def take(room: Room, source: int) -> None:
    """`source`, which fits, joins."""
    group = room.group[source]
    room.open[source] = False
    room.seats[group] -= 1
    if room.unmet[group] == 0:
        room.free[0] -= 1
        room.money[0] -= room.cost[source]
        return
    room.unmet[group] -= 1
    room.money[0] -= max(room.cost[source] - room.credit[group], 0.0)
    # One source less has to be kept: `source` itself if it was kept, else the dearest.
    last = room.last[group] - (1 if room.place[source] > room.last[group] else 0)
    while room.unmet[group] > 0 and not room.open[room.by_cost[last]]:
        last -= 1
    room.last[group] = last
    room.credit[group] = room.cost[room.by_cost[last]] if room.unmet[group] > 0 else 0.0


def _empty(limits: Limits, n: int) -> Room:
    """The room of the empty selection."""
    count = limits.n_groups
    free = open_sources(limits, n)
    group = np.zeros(n, np.int64) if limits.groups is None else limits.groups.astype(np.int64)
    cost = np.zeros(n) if limits.costs is None else limits.costs.astype(np.float64)
    room = Room(
        open=free,
        cost=cost,
        group=group,
        seats=_or_all(limits.ceilings, count, n),
        unmet=_or_all(limits.floors, count, 0),
        free=np.array([limits.budget]),
        money=np.array([float(limits.most)]),
        credit=np.zeros(count),
        by_cost=np.zeros(0, np.int64),
        place=np.zeros(n, np.int64),
        last=np.full(count, -1),
    )
    return _with_seats_kept(room) if room.unmet.any() else room


def _with_seats_kept(room: Room) -> Room:
    """`room` with the cheapest sources of every group kept for its floor."""
    order = np.lexsort((room.cost, room.group))
    by_cost = order[room.open[order]]
    place = np.zeros(len(room.open), np.int64)
    place[by_cost] = np.arange(len(by_cost))
    first = np.searchsorted(room.group[by_cost], np.arange(len(room.unmet)))
    for group in np.flatnonzero(room.unmet):
        kept = by_cost[first[group] : first[group] + room.unmet[group]]
        room.last[group] = first[group] + room.unmet[group] - 1
        room.credit[group] = room.cost[kept[-1]]
        room.free[0] -= len(kept)
        room.money[0] -= room.cost[kept].sum()
    return room._replace(by_cost=by_cost, place=place)


def _or_all(values: Ids | None, count: int, default: int) -> Ids:
    return np.full(count, default) if values is None else values.astype(np.int64)


def _refusal(room: Room, limits: Limits, source: int) -> str:
    """Which rule keeps `source`, which is open, out."""
    group = room.group[source]
    if room.seats[group] <= 0:
        return f"exceeds the ceiling of group {limits.called(group)}"
    if room.unmet[group] == 0 and room.free[0] <= 0:
        return "exceeds the budget, or takes a seat that a floor needs"
    return f"costs {room.cost[source]:g} of the {room.money[0]:g} that are left"


def _check_affordable(room: Room, limits: Limits) -> None:
    """UsageError if no source at all can join."""
    candidates = np.flatnonzero(room.open)
    if len(candidates) and not fits(room, candidates).any():
        raise UsageError(
            f"the cheapest source costs {room.cost[candidates].min():g} and all may cost "
            f"{limits.most:g}",
            hint="allow more",
        )
