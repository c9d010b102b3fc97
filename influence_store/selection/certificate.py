"""How far can this selection be from the best possible one? A bound from its own data.

For a monotone submodular f, a selection A and any allowed set O

    f(O) ≤ f(A) + Σ_{j∈O} gain(j | A) ≤ f(A) + max_{O allowed} Σ_{j∈O} gain(j | A)

(Minoux 1978; the "online bound" of CELF, Leskovec et al. 2007). The last maximum is exact for a
budget, floors and ceilings, and for costs at most what fractions of sources could fill
(Dantzig 1957). It holds whichever way A was found, and is usually far above the guarantee that is
known beforehand. With a warm start the best possible set is the best one that contains the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.limits import limits_of
from influence_store.selection.optimizers.path import (
    Path,
    check_monotone,
    check_submodular,
)
from influence_store.selection.room import room_of

if TYPE_CHECKING:
    from influence_store.protocols import Chosen, Flags, Gains, Ids, SetFunction
    from influence_store.selection.limits import Limits


@dataclass(frozen=True)
class Certificate:
    """f of the selection and a number that f of no allowed set exceeds."""

    value: float
    upper: float

    @property
    def ratio(self) -> float:
        """value / upper, 0 … 1: at least this part of the best possible."""
        return 1.0 if self.upper <= self.value else self.value / self.upper

    def told(self) -> str:
        """For people; rounded down, so that it stays true."""
        return f"at least {floor(1000 * self.ratio) / 10:.1f} % of the best possible"

    def facts(self) -> dict[str, float]:
        """As stored with a selection."""
        return {"value": self.value, "upper": self.upper, "ratio": self.ratio}


def certificate(
    function: SetFunction[Any], chosen: Chosen, limits: Limits | int, *, looks: int = 1
) -> Certificate:
    """The bound for `chosen`, from the gains that are left once it is complete.

    Every prefix gives a bound as well, and the lowest counts: `looks` prefixes are looked at, from
    the whole down to the start. One look is nearly the best for coverage of real data; the start
    is exact where sources hardly overlap, and helps where much money is left over. A look is a
    full pass over the kernel, except the first where `chosen.left` is known.

    UsageError for limits that cannot be kept, ValueError unless f is monotone and submodular.
    """
    check_submodular(function, "a certificate")
    check_monotone(function, "a certificate")
    path = Path(function, limits)
    picks = len(chosen.items)
    first = min(len(path.limits.start), picks)
    sizes = set(np.linspace(picks, first, max(looks, 1)).round().astype(int).tolist())
    known = {} if chosen.left is None else {picks: chosen.left}
    value, upper = float(chosen.gains.sum()), np.inf
    for size in range(picks + 1):
        if size in sizes:
            gains = known[size] if size in known else path.first_gains(np.arange(function.n))
            bound = certificate_of(float(chosen.gains[:size].sum()), gains, path.limits)
            upper = min(upper, bound.upper)
        if size < max(sizes - set(known), default=0):
            path.add(int(chosen.items[size]), float(chosen.gains[size]))
    return Certificate(value, upper)


def certificate_of(value: float, gains: Gains, limits: Limits | int) -> Certificate:
    """The bound for a selection of value f(A), with gains (n,) of every source given A."""
    limits = limits_of(limits)
    gains = np.maximum(gains, 0.0)
    more = _most_by_seats(gains, replace(limits, costs=None, most=float("inf")))
    if limits.costs is not None:
        spent = float(limits.costs[limits.start].sum())
        free = room_of(limits, len(gains)).open
        more = min(more, _most_by_money(gains, limits.costs, limits.most - spent, free))
    # Sources of the start that A lacks are in every allowed set.
    return Certificate(value, value + float(gains[limits.start].sum()) + more)


def _most_by_seats(gains: Gains, limits: Limits) -> float:
    """The largest Σ gains under budget, floors and ceilings.

    The best sources of a group take the seats that its floor is owed, the best of all others
    within their ceilings take the free ones.
    """
    room = room_of(limits, len(gains))
    sources = np.flatnonzero(room.open)
    group, gain = room.group[sources], gains[sources]
    rank = _rank_in_group(group, gain, len(room.seats))
    owed = rank < room.unmet[group]
    others = np.sort(gain[~owed & (rank < room.seats[group])])[::-1]
    return float(gain[owed].sum() + others[: room.free[0]].sum())


def _rank_in_group(group: Ids, gain: Gains, count: int) -> Ids:
    """0 for the best of each group, 1 for the next …"""
    order = np.lexsort((-gain, group))
    first = np.searchsorted(group[order], np.arange(count))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - first[group[order]]
    return rank


def _most_by_money(gains: Gains, costs: Gains, money: float, free: Flags) -> float:
    """The largest Σ gains for `money` if sources could be bought in part: best gain/cost first."""
    sources = np.flatnonzero(free & (costs <= money))
    order = sources[np.argsort(-gains[sources] / costs[sources], kind="stable")]
    before = np.cumsum(costs[order]) - costs[order]
    share = np.clip((money - before) / costs[order], 0.0, 1.0)
    return float((gains[order] * share).sum())
