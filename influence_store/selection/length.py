"""Which samples would length alone take? Two baselines that expose a selector of long answers.

Many a score rises with the length of the response, so a selection that beats random may owe it to
length. `length_matched` is random but for its lengths; `longest` is the simplest selector that
rewards them (arXiv 2402.04833 finds it hard to beat).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.schema.identity import content_order
from influence_store.selection.picks import Picks, check_budget
from influence_store.selection.top_scores import top_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Ids


def length_matched(
    budget: int,
    *,
    lengths: npt.ArrayLike,
    like: npt.ArrayLike,
    ids: Sequence[bytes],
    seed: int,
    n_bins: int = 20,
) -> Picks:
    """A random set with the lengths of another one; a prefix of it has them only roughly.

    `n_bins` ranges between quantiles of `like` get the share of the budget that `like` has there,
    exactly wherever the pool is large enough. Where it is not, the samples nearest to the range's
    median length step in: `filled` counts them. `log_gap` is what remains, the mean difference of
    log(1 + length) between the sorted picks and the sorted `like`. UsageError if `like` is empty.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; expected at least 1")
    pool, wanted = _log(lengths), _log(like)
    if not len(wanted):
        raise UsageError("there is no length to resemble", hint="hand over some as `like`")
    check_budget(budget, len(pool), len(pool), {})
    bins = _Bins.of(wanted, n_bins)
    quota = _share(budget, np.bincount(bins.of_each(wanted)))
    order = np.array(content_order(ids, seed), np.int64)
    chosen = np.zeros(len(pool), np.bool_)
    homes = bins.of_each(pool[order])
    for k in np.flatnonzero(quota):
        chosen[order[homes == k][: quota[k]]] = True
    filled = budget - int(chosen.sum())
    _fill(chosen, quota, pool, wanted, bins, order)
    items = order[chosen[order]]
    facts: dict[str, Any] = {
        "selector": "length-matched",
        "gain": "none",
        "n": len(pool),
        "seed": seed,
        "n_bins": int(np.count_nonzero(quota)),
        "filled": filled,
        "log_gap": _gap(pool[items], wanted),
    }
    return Picks(items, np.full(budget, np.nan), facts)


def longest(budget: int, *, lengths: npt.ArrayLike) -> Picks:
    """The longest samples, longest first; ties go to the lowest position."""
    picks = top_scores(budget, scores=np.asarray(lengths, np.float64))
    return Picks(picks.items, picks.gains, {**picks.facts, "selector": "longest", "gain": "length"})


def _log(lengths: npt.ArrayLike) -> Doubles:
    """log(1 + length); ValueError for a length that is negative or no number."""
    numbers = np.asarray(lengths, np.float64)
    if not (numbers >= 0).all():
        raise ValueError("a length is negative or NaN; expected 0 or more for every sample")
    return np.log1p(numbers)


@dataclass(frozen=True)
class _Bins:
    """Ranges between quantiles of the wanted values, from the smallest of them to the largest.

    An edge belongs to the upper bin. What lies outside the range is in no bin: −1.
    """

    edges: Doubles
    low: float
    high: float

    @classmethod
    def of(cls, wanted: Doubles, n_bins: int) -> _Bins:
        at = np.arange(1, n_bins) / n_bins
        # This kind of quantile lies on a value or midway between two, so that values stay apart.
        edges = np.unique(np.quantile(wanted, at, method="averaged_inverted_cdf"))
        return cls(edges, float(wanted.min()), float(wanted.max()))

    def of_each(self, values: Doubles) -> Ids:
        inside = (values >= self.low) & (values <= self.high)
        return np.where(inside, np.searchsorted(self.edges, values, side="right"), -1)


def _share(budget: int, counts: Ids) -> Ids:
    """`budget` divided in proportion to `counts`; what is left goes to the largest remainders."""
    exact, total = budget * counts, int(counts.sum())
    quota: Ids = exact // total
    first = np.argsort(-(exact % total), kind="stable")[: budget - int(quota.sum())]
    quota[first] += 1
    return quota


def _fill(
    chosen: npt.NDArray[np.bool_],
    quota: Ids,
    pool: Doubles,
    wanted: Doubles,
    bins: _Bins,
    order: Ids,
) -> None:
    """Give every bin with too few samples the nearest ones that nobody has taken."""
    missing = quota - np.bincount(bins.of_each(pool[chosen]), minlength=len(quota))
    homes = bins.of_each(wanted)
    for k in np.flatnonzero(missing):
        left = order[~chosen[order]]
        distance = np.abs(pool[left] - np.median(wanted[homes == k]))
        chosen[left[np.argsort(distance, kind="stable")[: missing[k]]]] = True


def _gap(picked: Doubles, wanted: Doubles) -> float:
    """Mean distance between the two quantile functions: 0 = the same lengths."""
    at = (np.arange(len(picked)) + 0.5) / len(picked)
    rank = np.minimum((at * len(wanted)).astype(np.int64), len(wanted) - 1)
    return float(np.abs(np.sort(picked) - np.sort(wanted)[rank]).mean())
