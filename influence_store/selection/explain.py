"""Which chosen source serves each target, and what would remain without it?

    best(i)   = argmax_{j ∈ A} S[i, j]           second(i) = argmax_{j ∈ A \\ best(i)} S[i, j]
    lost(j)   = Σ_{i: best(i) = j} v_i − w_i     v, w = the two values, within level_i … cap_i
    gain(x)   = Σ_i max( min(S[i, x], cap_i) − v_i, 0 )

with level_i where the set function starts and cap_i where it saturates. `cover` is one pass over
n_targets × |A| values and is stored with a selection; the rest reads it and the columns of the
few sources asked about, never a whole kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.progress import progress
from influence_store.selection.tiles import TILE_BYTES, tiles

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Flags, Floats, Ids, PairwiseView
    from influence_store.selection.limits import Limits

NOBODY = -1


@dataclass(frozen=True)
class Cover:
    """The two chosen sources that serve each target best, all (n_targets,).

    `best` and `second` are sources as given in `items`, `NOBODY` where there is none; then the
    value is −inf. Ties go to the earlier pick.
    """

    best: Ids
    value: Doubles
    second: Ids
    second_value: Doubles


def cover(view: PairwiseView, items: Ids, tile_bytes: int = TILE_BYTES) -> Cover:
    """Who serves whom: one pass over the columns of `items`, which stand in the order picked."""
    n_targets = view.shape[0]
    best, second = np.full(n_targets, NOBODY), np.full(n_targets, NOBODY)
    value, second_value = np.full(n_targets, -np.inf), np.full(n_targets, -np.inf)
    with progress("who serves whom", len(items), "picks") as advance:
        for sources, values in tiles(view, items, tile_bytes):
            for source, row in zip(sources.tolist(), values, strict=True):
                # A new source seldom enters the two best: only where it does is touched.
                entering = np.flatnonzero(row > second_value)
                new = row[entering].astype(np.float64)
                wins = new > value[entering]
                top, below = entering[wins], entering[~wins]
                second[top], second_value[top] = best[top], value[top]
                best[top], value[top] = source, new[wins]
                second[below], second_value[below] = source, new[~wins]
            advance(len(sources))
    return Cover(best, value, second, second_value)


def within(values: Doubles, level: Doubles, cap: Doubles | None = None) -> Doubles:
    """What counts of `values` (…, n_targets): nothing above the cap, never below the level."""
    return np.maximum(values if cap is None else np.minimum(values, cap), level)


def lost_without(
    cover: Cover, items: Ids, level: Doubles, cap: Doubles | None = None
) -> tuple[Ids, Doubles]:
    """How many targets each of `items` serves best, and what f loses if it alone is taken out.

    Both (len(items),). Targets that stay at their level are served by nobody. Nothing lost means
    that others of the selection serve the same targets as well.
    """
    held = within(cover.value, level, cap)
    served = held > level
    order = np.argsort(items)
    place = order[np.searchsorted(items[order], cover.best[served])]
    lost = (held - within(cover.second_value, level, cap))[served]
    summed = np.bincount(place, weights=lost, minlength=len(items)).astype(np.float64)
    return np.bincount(place, minlength=len(items)).astype(np.int64), summed


def gains_at_end(
    columns: Floats,
    cover: Cover,
    level: Doubles,
    cap: Doubles | None = None,
    *,
    tolerance: float = 0.0,
) -> tuple[Ids, Doubles]:
    """What sources would add to the whole selection, from their `columns` (k, n_targets).

    The number of targets that each would serve better than all chosen ones, by more than
    `tolerance`, and the sum of how much better, both (k,); f's own bonus for a source, if it has
    one, comes on top.
    """
    held = within(cover.value, level, cap)
    raised = within(columns.astype(np.float64), level, cap) - held
    raised[raised <= tolerance] = 0.0
    return (raised > 0).sum(axis=1), raised.sum(axis=1)


@dataclass(frozen=True)
class Rival:
    """A chosen source that holds `n_targets` of the ground of another, by `lead` on average."""

    source: int
    n_targets: int
    lead: float


def rivals(column: Floats, cover: Cover, ground: int) -> list[Rival]:
    """Who holds the `ground` targets that a source would serve best, most targets first.

    `column` (n_targets,) are the values of that source. A lead is S[i, rival] − S[i, source], ≥ 0
    where the rival is the better one.
    """
    best = np.argsort(-column, kind="stable")[:ground]
    best = best[cover.best[best] != NOBODY]
    holders, inverse, counts = np.unique(cover.best[best], return_inverse=True, return_counts=True)
    lead = np.bincount(inverse, weights=cover.value[best] - column[best]) / counts
    order = np.lexsort((holders, -counts))
    return [Rival(int(holders[k]), int(counts[k]), float(lead[k])) for k in order]


def largest(products: Floats, allowed: Flags, k: int) -> tuple[Ids, Doubles]:
    """Where the `k` largest of each row of `products` (q, n) stand, and what they are.

    Only places that are `allowed` (q, n); both (q, ≤ k), best first, ties to the lower place, and
    NOBODY with −inf where fewer are allowed.
    """
    n_asked, n = products.shape
    k = min(k, n)
    places, found = np.full((n_asked, k), NOBODY), np.full((n_asked, k), -np.inf)
    for q in range(n_asked if k else 0):
        near = np.flatnonzero(allowed[q])
        row = products[q, near].astype(np.float64)
        if len(near) > k:
            kept = row >= np.partition(row, len(row) - k)[len(row) - k]
            near, row = near[kept], row[kept]
        order = np.argsort(-row, kind="stable")[:k]
        places[q, : len(order)], found[q, : len(order)] = near[order], row[order]
    return places, found


def ruled_out(limits: Limits, items: Ids, source: int) -> list[tuple[str, str]]:
    """The limits that keep `source` out of the finished selection: (barred | quota | cost, why)."""
    reasons = []
    if limits.barred is not None and limits.barred[source]:
        reasons.append(("barred", "it must not be picked"))
    if limits.groups is not None and limits.ceilings is not None:
        group = int(limits.groups[source])
        n_in, most = int((limits.groups[items] == group).sum()), int(limits.ceilings[group])
        if n_in >= most:
            told = f"its group {limits.called(group)} has {n_in:,} of at most {most:,} samples"
            reasons.append(("quota", told))
    if limits.costs is not None:
        left, cost = limits.most - float(limits.costs[items].sum()), float(limits.costs[source])
        if cost > left:
            reasons.append(
                ("cost", f"it costs {cost:,g} and {left:,g} of {limits.most:,g} is left")
            )
    return reasons


def expected_rank(gains: Doubles, gain: float) -> int | None:
    """About which rank a source with this gain now would get, if greedy went on; None: never.

    Gains of the last half of the picks, extended as a power of the rank: a guess. On 52,632 T0
    samples the first 1,000 picks put ranks 1,200, 1,500 and 2,000 at 1,108, 1,419 and 2,307.
    """
    if gain <= 0:
        return None
    at_once = int((gains >= gain).sum()) + 1
    if at_once <= len(gains):
        return at_once
    half = np.arange(len(gains) // 2, len(gains))
    half = half[gains[half] > 0]
    if len(half) < 2:
        return at_once
    slope, intercept = np.polyfit(np.log(half + 1.0), np.log(gains[half]), 1)
    if slope >= 0:
        return at_once
    reached = (np.log(gain) - intercept) / slope
    return max(at_once, int(np.exp(min(reached, 40.0))))
