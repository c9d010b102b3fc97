"""Which samples leave no other one far away? Greedy K-center on any stored vectors.

DiverseEvol (arXiv 2311.08182) adds, again and again,

    argmax_i  min_{j chosen}  ‖e_i − e_j‖₂

The radius max_i min_j ‖e_i − e_j‖₂ is then at most twice the best possible one (Gonzalez 1985).
DiverseEvol embeds with the LLM tuned on the samples chosen so far; here a round is a call with
`start` = what earlier rounds chose, on whatever embedding is stored. Outliers come first, junk
among them: look at the first picks.

Its release builds the n × n matrix and takes the root of what rounding made negative. Here one
distance per sample is kept, and kept only as up to date as the next pick needs: it can but shrink
while centres join, so an old distance bounds the new one, and a sample whose fresh distance tops
all bounds is the pick. Squares are formed in float64, called 0 below their rounding error, and
rounded once to float32, so that samples equally far tie and the lowest position wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from influence_store.progress import progress
from influence_store.schema.identity import content_order
from influence_store.selection.picks import Picks, check_budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Flags, Floats, Ids

Metric = Literal["euclidean", "cosine"]
Standardise = Literal["none", "centre", "whiten"]

_FIRST_BATCH, _LARGEST_BATCH = 16, 1024
_CENTRES_AT_ONCE = 4096
# ‖x‖² + ‖c‖² − 2⟨x, c⟩ carries a rounding error of this order, relative to ‖x‖² + ‖c‖².
_ROUNDING = 1e-13


def k_center(
    budget: int,
    *,
    vectors: npt.NDArray[Any],
    ids: Sequence[bytes],
    seed: int,
    start: Ids | None = None,
    metric: Metric = "euclidean",
    standardise: Standardise = "none",
) -> Picks:
    """`budget` samples, each the farthest from all before it; ties go to the lowest position.

    `start` are positions that are centres already and are not picked again; without them the
    first pick is random and has no gain. `gains` are the distances at the pick, ≥ 0 and never
    growing: gains[k + 1] is the covering radius after pick k, facts["radius"] that after the
    last. The "cosine" metric is the distance of unit vectors, √(2 − 2 cos). "centre" subtracts the
    mean vector, which only the cosine notices, "whiten" makes the covariance the identity. Rows
    with a NaN, and zero rows under "cosine", are neither picked nor covered, but counted.
    """
    points = _points(vectors, metric, standardise)
    usable: Flags = np.asarray(np.isfinite(points).all(axis=1))
    centres = _checked_start(start, usable)
    free = usable.copy()
    free[centres] = False
    n_free, n = int(free.sum()), len(points)
    dropped = {"without a vector": n - int(usable.sum()), "in `start`": len(centres)}
    check_budget(budget, n_free, n, dropped)
    frontier = _Frontier(points, free, len(centres) + budget)
    frontier.add(centres)
    items, gains = _farthest_first(frontier, budget, np.array(content_order(ids, seed), np.int64))
    facts = {
        "selector": "k-center",
        "gain": "distance to the nearest centre",
        "n": n,
        "n_start": len(centres),
        "seed": None if len(centres) else seed,
        "metric": metric,
        "standardise": standardise,
        "dropped": dropped,
        "radius": frontier.radius(),
    }
    return Picks(items, gains, facts)


def _farthest_first(frontier: _Frontier, budget: int, order: Ids) -> tuple[Ids, Doubles]:
    items, gains = np.empty(budget, np.int64), np.full(budget, np.nan)
    with progress("select", budget, "picks") as advance:
        for k in range(budget):
            if frontier.n_centres == 0:
                items[k] = order[np.argmax(frontier.bound[order] >= 0)]
            else:
                items[k] = frontier.farthest()
                gains[k] = np.sqrt(np.float64(frontier.bound[items[k]]))
            frontier.add(items[k : k + 1])
            advance(1)
    return items, gains


class _Frontier:
    """How far is every free point from its nearest centre, at most?

    `bound` (n,): squared distance to the nearest of the first `seen` centres, −1 for points that
    are not free. `centres` are kept in float64, (capacity, d), beside their squared lengths.
    """

    def __init__(self, points: Floats, free: Flags, capacity: int) -> None:
        self.points = points
        self.bound = np.where(free, np.inf, -1.0).astype(np.float32)
        self.seen = np.zeros(len(points), np.int64)
        self.centres = np.empty((capacity, points.shape[1]))
        self.squares = np.empty(capacity)
        self.n_centres = 0

    def add(self, items: Ids) -> None:
        """Make centres of these points; nothing is measured yet."""
        added = slice(self.n_centres, self.n_centres + len(items))
        self.centres[added] = self.points[items]
        self.squares[added] = _squares(self.centres[added])
        self.n_centres = added.stop
        self.bound[items] = -1.0

    def farthest(self) -> int:
        """The free point with the largest distance; lowest position among equals."""
        batch = _FIRST_BATCH
        while True:
            best = int(np.argmax(self.bound))
            if self.seen[best] == self.n_centres or self.bound[best] < 0:
                return best
            top = np.argpartition(self.bound, max(0, len(self.bound) - batch))[-batch:]
            self._refresh(top[(self.seen[top] < self.n_centres) & (self.bound[top] >= 0)])
            batch = min(2 * batch, _LARGEST_BATCH)

    def radius(self) -> float:
        """The largest distance of a free point, 0 if there is none."""
        return float(np.sqrt(max(0.0, float(self.bound[self.farthest()]))))

    def _refresh(self, rows: Ids) -> None:
        """Compare these points with the centres they have not seen."""
        x = self.points[rows].astype(np.float64)
        own = _squares(x)
        for first in range(int(self.seen[rows].min()), self.n_centres, _CENTRES_AT_ONCE):
            part = slice(first, min(first + _CENTRES_AT_ONCE, self.n_centres))
            nearest = (self.squares[part] - 2.0 * (x @ self.centres[part].T)).min(axis=1) + own
            nearest[nearest <= 2.0 * _ROUNDING * own] = 0.0
            self.bound[rows] = np.minimum(self.bound[rows], nearest.astype(np.float32))
        self.seen[rows] = self.n_centres


def _squares(points: Doubles) -> Doubles:
    """‖x‖² of every row."""
    squares: Doubles = np.einsum("nd,nd->n", points, points)
    return squares


def _points(vectors: npt.NDArray[Any], metric: Metric, standardise: Standardise) -> Floats:
    """The rows as the metric sees them, float32 (n, d); NaN rows where there is no point."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}; expected one of {', '.join(get_args(Metric))}")
    if standardise not in get_args(Standardise):
        known = ", ".join(get_args(Standardise))
        raise ValueError(f"standardise is {standardise!r}; expected one of {known}")
    points: Floats = np.asarray(vectors, np.float32)
    if points.ndim != 2:
        raise ValueError(f"expected vectors (n, d), found shape {points.shape}")
    if standardise != "none":
        points = _standardised(points, whiten=standardise == "whiten")
    if metric == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = np.asarray(points / np.where(lengths > 0, lengths, np.nan), np.float32)
    return points


def _standardised(points: Floats, *, whiten: bool) -> Floats:
    """Rows minus their mean, and along their principal axes divided by the deviation there.

    An axis without variance (beyond the rounding of float32) tells nothing and is left out.
    """
    usable: Doubles = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if not len(usable):
        return points
    mean = usable.mean(axis=0)
    if not whiten:
        return np.asarray(points - mean, np.float32)
    usable -= mean
    variances, axes = np.linalg.eigh(usable.T @ usable / len(usable))
    kept = variances > np.finfo(np.float32).eps * variances.max()
    scaled = axes[:, kept] / np.sqrt(variances[kept])
    return np.asarray((points - mean) @ scaled, np.float32)


def _checked_start(start: Ids | None, usable: Flags) -> Ids:
    """`start` as distinct positions; ValueError if one is outside or has no vector."""
    given = np.asarray([] if start is None else start, np.int64)
    centres = np.unique(given)
    if len(centres) and (centres[0] < 0 or centres[-1] >= len(usable)):
        raise ValueError(f"start names positions outside 0 to {len(usable) - 1}")
    if not usable[centres].all():
        raise ValueError(f"{int((~usable[centres]).sum())} samples of start have no vector")
    return centres
