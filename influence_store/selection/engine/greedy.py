"""Which sources does greedy pick for a coverage function? Exactly the naive ones, fast.

    f(A) = Σ_i max( min(max_{j∈A} S[i, j], cap_i) − level_i, 0 )  +  Σ_{j∈A} bonus_j

Two phases. While levels are low nearly every pair counts, and gains fall so fast that lazy bounds
say little: whole columns are read, on all cores. After a few picks most pairs lie below their
level, where no later pick can need them (on real embeddings 5 % are left after ten picks, 0.1 %
after a hundred). Then only those are kept, and a lazy walk over them costs next to nothing.

All sums are exact (selection/grid.py), so the picks and gains are those of naive greedy to the
last bit, whichever phase, thread or tile computed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.progress import progress
from influence_store.protocols import Chosen
from influence_store.selection.engine import compiled
from influence_store.selection.engine.columns import Pairs
from influence_store.selection.room import fits, room_of, take

if TYPE_CHECKING:
    from influence_store.progress import Advance
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.engine.columns import Columns
    from influence_store.selection.limits import Limits

_FIRST_BATCH, _GROWTH = 8, 16
#: Pairs read between two looks at the clock, at the keyboard and at what may be forgotten.
_WORK = 100_000_000
#: Pairs are looked through for those to forget once as many were read.
_REREAD = 1


def maximize(
    columns: Columns | Pairs,
    level: Floats,
    limits: Limits,
    *,
    cap: Floats,
    bonus: Doubles,
    per_cost: bool = False,
) -> Chosen:
    """The greedy order under `limits`; ties go to the lowest position.

    `level` and `cap` (n_targets,) lie on the grid of the kernel, `bonus` is (n_sources,) ≥ 0.
    With `per_cost` sources are ranked by gain per cost. Fewer than `limits.budget` sources are
    picked where the limits leave no more.
    """
    price = limits.costs if per_cost and limits.costs is not None else np.ones(len(bonus))
    walk = _Walk(level.copy(), cap, bonus, limits, price)
    with progress("select", limits.budget, "picks") as advance:
        pairs = columns if isinstance(columns, Pairs) else walk.whole_columns(columns, advance)
        left = walk.pairs_left(pairs, advance) + bonus
    left[walk.items[: walk.step]] = 0.0
    return Chosen(walk.items[: walk.step], walk.gained[: walk.step], walk.evaluations, left)


class _Walk:
    """What has been picked, how well targets are covered, and bounds of what is still to gain.

    `bound` (n,) is never below the gain of a source; −1 where it is picked or has no room.
    """

    def __init__(
        self, level: Floats, cap: Floats, bonus: Doubles, limits: Limits, price: Doubles
    ) -> None:
        self.level, self.cap, self.bonus, self.price = level, cap, bonus, price
        self.room, self.start = room_of(limits, len(bonus)), limits.start
        self.items = np.empty(limits.budget, np.int64)
        self.gained = np.empty(limits.budget)
        self.bound = np.where(self.room.open, np.inf, -1.0)
        self.step = 0
        self.evaluations = 0

    def whole_columns(self, columns: Columns, advance: Advance) -> Pairs:
        """Pick while most pairs count; return those that still do."""
        self.bound = np.where(self.room.open, columns.bounds(self.level), -1.0) + self.bonus
        self.bound[~self.room.open] = -1.0
        for source in self.start.tolist():  # they sit in the room already
            self._measure(columns, np.array([source]))
            self._join(columns, source, advance)
        while self.step < len(self.items):
            if columns.share_above(self.level, self.cap) <= columns.patience:
                break
            best = self._best(columns)
            if best is None:
                break
            take(self.room, best)
            self._join(columns, best, advance)
        return columns.pairs(self.level, self.cap)

    def pairs_left(self, pairs: Pairs, advance: Advance) -> Doubles:
        """Pick the rest from the pairs that count; what they still gain, without bonus."""
        for source in self.start[self.step :].tolist():
            pairs.learn(self.level, np.array([source]))
            self._join_by_pairs(pairs, source, advance)
        gains = pairs.gains(self.level)
        while self.step < len(self.items):
            before = self.step
            self.bound = np.where(self.bound >= 0, gains + self.bonus, -1.0)
            work = min(_WORK, _REREAD * len(pairs.value) + len(self.bound))
            self.step, evaluations, why = compiled.walk(
                *(pairs.start, pairs.target, pairs.value, self.level, self.bonus, self.bound),
                *(self.price, self.room, self.step, self.items, self.gained, work),
                *pairs.truth,
            )
            self.evaluations += evaluations
            advance(self.step - before)
            gains = pairs.drop_below(self.level)
            if why == compiled.EMPTY:
                break
        pairs.learn(self.level, np.arange(len(self.bound)))
        return pairs.gains(self.level)

    def _best(self, columns: Columns) -> int | None:
        """The source with the largest gain per price, lowest position first; None if none fits.

        Bounds are refreshed from the top in growing batches until none is above the best gain.
        """
        self.bound[~fits(self.room, np.arange(columns.n))] = -1.0
        fresh, batch, best = np.zeros(columns.n, np.bool_), _FIRST_BATCH, 0.0
        may_tighten = True
        while True:
            rank = self.bound / self.price
            stale = np.flatnonzero(~fresh & (rank >= best))
            if not len(stale):
                return int(np.argmax(np.where(fresh, rank, -1.0))) if fresh.any() else None
            if may_tighten and len(stale) > batch:
                may_tighten = False
                tighter = columns.tighter(self.level)
                if tighter is not None:
                    within = np.minimum(self.bound, tighter + self.bonus)
                    self.bound = np.where(self.bound >= 0, within, -1.0)
                    batch = _FIRST_BATCH
                    continue
            if len(stale) > batch:
                stale = np.sort(stale[np.argpartition(-rank[stale], batch)[:batch]])
            self._measure(columns, stale)
            fresh[stale] = True
            best = max(best, float((self.bound[stale] / self.price[stale]).max()))
            batch *= _GROWTH

    def _measure(self, columns: Columns, sources: Ids) -> None:
        self.bound[sources] = columns.gains(sources, self.level, self.cap) + self.bonus[sources]
        self.evaluations += len(sources)

    def _join_by_pairs(self, pairs: Pairs, source: int, advance: Advance) -> None:
        its = slice(pairs.start[source], pairs.start[source + 1])
        target, value = pairs.target[its], pairs.value[its]
        raised = np.maximum(value.astype(np.float64) - self.level[target], 0.0)
        self.items[self.step] = source
        self.gained[self.step] = raised.sum() + self.bonus[source]
        self.bound[source] = -1.0
        self.level[target] = np.maximum(self.level[target], value)
        self.step += 1
        advance(1)

    def _join(self, columns: Columns, source: int, advance: Advance) -> None:
        self.items[self.step], self.gained[self.step] = source, self.bound[source]
        self.bound[source] = -1.0
        compiled.raise_level(columns.column(source), self.level, self.cap)
        self.step += 1
        advance(1)
