"""Do new rows lie where the labelled ones can speak for them?

An estimator knows a source only by the labelled sources that it resembles. For a row x that came
with the rows X,

    d(x) = 1 − max_{s ∈ seed} cos(e_x, e_s)          how far the nearest labelled source is
    q(x) = d(x) / (distance to the 5th nearest of X)    the same in units of its own surroundings

A row is *outside* if d or q is higher than it ordinarily is. d alone finds rows far from everything
but not a dense new kind of text in the midst of diverse ones: word problems in a pool of chat lie
no farther from 40 labelled samples than chat does, but far for rows that close to each other.

What is ordinary, m reference rows say: rows of the version that the seed was drawn from, but not
in the seed. They are no nearer to the seed than other data of their kind, however small the seed.
Let z(x) = max(#{d_ref < d(x)}, #{q_ref < q(x)}), and x be outside if z(x) is above the r-th largest
z of the reference rows. If the new rows are of the same kind, the number outside among n of them
has a law that does not depend on how d and q are distributed (Gumbel and von Schelling, "The
distribution of the number of exceedances", Annals of Mathematical Statistics 21, 1950):

    K ~ BetaBinomial(n, r, m + 1 − r),      E[K] / n = r / (m + 1),

r being the greatest with r / (m + 1) ≤ 5 %, and at least 1. That is exact for independent rows,
where a binomial test would take the limit for known. q makes rows depend on each other a little,
hence the strict level: fair draws from a real pool gave ≤ 2 % false alarms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.counted import agree, counted

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Flags, Floats, Ids

#: Share of ordinary rows that count as outside.
OUTSIDE = 0.05
#: Drift is told when chance explains it this rarely and there is at least this much of it.
ALPHA, MATERIAL = 0.001, 2.0
#: Which of the rows that came with it tells how close a row's surroundings are, and the least
#: distance that it is taken for: copies would make any distance look large.
PEER, LEAST_DISTANCE = 5, 1e-3
#: Rows compared at a time.
TILE_ROWS = 8192


@dataclass(frozen=True)
class Place:
    """Cosine distances of rows, (n,): to the nearest labelled source, to the 5th nearest peer.

    `to_peer` is inf where there are no peers to compare with: then only `to_seed` counts.
    """

    to_seed: Doubles
    to_peer: Doubles

    @property
    def relative(self) -> Doubles:
        """`to_seed` in units of `to_peer`, (n,); 0 without peers."""
        return self.to_seed / np.maximum(self.to_peer, LEAST_DISTANCE)


@dataclass(frozen=True)
class Drift:
    """How many of `rows` new rows are outside: `far` by d, `apart` by q, some of them by both.

    `expected` is the share that would be by chance, `p_value` the probability of at least as many;
    `far_limit` and `apart_limit` are the highest ordinary d and q, `apart_limit` None where the
    reference rows have no peers and q says nothing.
    """

    rows: int
    outside: int
    far: int
    apart: int
    expected: float
    p_value: float
    far_limit: float
    apart_limit: float | None
    reference: int
    median: float
    reference_median: float

    @property
    def share(self) -> float:
        """Share of the new rows that are outside, 0 … 1."""
        return self.outside / self.rows

    @property
    def found(self) -> bool:
        """Whether the share is at least twice the expected one, and not by chance (0.1 %)."""
        return self.p_value < ALPHA and self.share >= MATERIAL * self.expected

    @property
    def tolerated(self) -> int:
        """Rows that may stay outside: the expected share of the new rows."""
        return int(self.expected * self.rows)

    def limit(self, place: Place) -> Doubles:
        """The distance to the seed up to which each row of `place` is not outside, (n,)."""
        limit = np.full(len(place.to_seed), self.far_limit)
        if self.apart_limit is None:
            return limit
        apart: Doubles = self.apart_limit * np.maximum(place.to_peer, LEAST_DISTANCE)
        lower: Doubles = np.minimum(limit, apart)
        return lower

    def is_outside(self, place: Place) -> Flags:
        """Which rows of `place` are outside, (n,)."""
        outside: Flags = place.to_seed > self.limit(place)
        return outside

    def facts(self) -> dict[str, Any]:
        """As stored with a run; JSON-able."""
        return {**asdict(self), "share": self.share, "drift": self.found}

    def lines(self) -> list[str]:
        """For people: the share, what was to be expected, and how far the rows lie."""
        both = self.far + self.apart - self.outside
        return [
            f"{self.outside:,} of {counted(self.rows, 'new row')} ({self.share:.0%}) "
            f"{agree(self.outside, 'is', 'are')} outside what is "
            f"labelled, {self.expected:.0%} expected (p {_readable(self.p_value)}):",
            f"{self.far:,} {agree(self.far, 'is', 'are')} far from every labelled source; "
            f"{self.apart:,} {agree(self.apart, 'is', 'are')} close to each other, with no "
            f"labelled source among them{f'; {both:,} of these are both' if both else ''}",
            f"median cosine distance to the nearest labelled source: {self.median:.2f}, of rows "
            f"the labels were drawn from {self.reference_median:.2f}",
        ]


def drift(new: Place, reference: Place) -> Drift:
    """Compare new rows (n) with reference rows (m); ValueError if either are none."""
    # Here, not above: it takes longer to import than `ingest` to start.
    from scipy.stats import betabinom

    n, m = len(new.to_seed), len(reference.to_seed)
    if not (n and m):
        raise ValueError(f"{n} new and {m} reference rows, expected at least one of each")
    r = max(1, int(OUTSIDE * (m + 1)))
    far, apart = np.sort(reference.to_seed), np.sort(reference.relative)
    rank = np.maximum(
        np.searchsorted(far, reference.to_seed), np.searchsorted(apart, reference.relative)
    )
    highest = int(np.sort(rank)[m - r])
    # At least `highest` + 1 reference values are lower, if and only if that one is.
    far_limit = float(far[highest])
    apart_limit = float(apart[highest]) if np.isfinite(reference.to_peer).all() else None
    is_far = new.to_seed > far_limit
    is_apart = new.relative > apart_limit if apart_limit is not None else np.zeros(n, np.bool_)
    outside = int((is_far | is_apart).sum())
    return Drift(
        rows=n,
        outside=outside,
        far=int(is_far.sum()),
        apart=int(is_apart.sum()),
        expected=r / (m + 1),
        p_value=float(betabinom.sf(outside - 1, n, r, m + 1 - r)),
        far_limit=far_limit,
        apart_limit=apart_limit,
        reference=m,
        median=float(np.median(new.to_seed)),
        reference_median=float(np.median(reference.to_seed)),
    )


def place(rows: Floats, ids: Ids, seed: Floats, peers: Floats, peer_ids: Ids) -> Place:
    """Distances of `rows` (n, dim) to `seed` (u, dim) and `peers` (g, dim), exact, in tiles.

    `ids` (n,) and `peer_ids` (g,) say which peer is the row itself: it does not count. Groups to
    be compared need equally many peers.
    """
    to_peer = np.full(len(rows), np.inf)
    if len(peers) > PEER:
        to_peer = _distances(rows, ids, peers, peer_ids, PEER)
    return Place(distance_to_nearest(rows, seed), to_peer)


def place_in_seed(seed: Floats) -> Place:
    """Each seed sample's distance to the nearest other one, (u,): the reference if all is seed.

    Without peers: they would be the seed itself. The seed needs two samples.
    """
    ids = np.arange(len(seed))
    return Place(_distances(seed, ids, seed, ids, 1), np.full(len(seed), np.inf))


def rows_to_cover(outside: Floats, limit: Doubles, tolerated: int) -> list[int]:
    """Few of the rows `outside` (n, dim) such that ≤ `tolerated` are beyond their `limit` (n,).

    Positions in the order picked. Greedy partial cover: each pick brings the most rows within
    their limit, so there are at most 1 + ln n times as many picks as needed (Slavík 1997). Holds
    n² flags: pass a draw of many rows, with as large a share tolerated.
    """
    unit = _unit(outside)
    # A row covers itself whatever rounding does to its own cosine.
    near = (1.0 - unit @ unit.T <= limit) | np.eye(len(outside), dtype=bool)
    left = np.ones(len(outside), bool)
    gains = near.sum(axis=1)
    picks: list[int] = []
    while left.sum() > tolerated:
        best = int(gains.argmax())
        newly = near[best] & left
        left &= ~newly
        gains -= near[:, newly].sum(axis=1)
        picks.append(best)
    return picks


def distance_to_nearest(rows: Floats, others: Floats) -> Doubles:
    """Cosine distance of each of `rows` (n, dim) to the nearest of `others` (u, dim), (n,)."""
    nearest, nobody = np.full(len(rows), np.inf), np.full(len(rows), -1)
    for start in range(0, len(others), TILE_ROWS):
        tile = others[start : start + TILE_ROWS]
        nearest = np.minimum(nearest, _distances(rows, nobody, tile, np.arange(len(tile)), 1))
    return nearest


def _distances(rows: Floats, ids: Ids, others: Floats, other_ids: Ids, k: int) -> Doubles:
    """Cosine distance of each row to the k-th nearest of `others` that is not itself, (n,)."""
    unit = _unit(others)
    out = np.empty(len(rows))
    for start in range(0, len(rows), TILE_ROWS):
        stop = start + TILE_ROWS
        distance = 1.0 - _unit(rows[start:stop]) @ unit.T
        distance[ids[start:stop, None] == other_ids] = np.inf
        out[start:stop] = np.partition(distance, k - 1, axis=1)[:, k - 1]
    return np.maximum(out, 0.0)


def _readable(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
