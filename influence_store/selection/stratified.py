"""Which samples stand for every level of a score? Coverage-enhanced selection.

DEALRec (arXiv 2401.17197, after arXiv 2210.15809): without the top `hard_prune` of the scores,
cut their range into K bins of equal width, then, as long as bins are left, take the one with the
fewest members and draw uniformly

    min( |bin| , ⌊ budget left / bins left ⌋ )

of them. Small bins so give all they have and large ones share the rest; the whole budget is always
spent. One outlier squeezes all others into one bin of equal width: `quantiles` makes bins of equal
size instead, which is proportional sampling along the score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.schema.identity import content_order
from influence_store.selection.picks import Picks, check_budget
from influence_store.selection.top_scores import Ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Ids


def stratified(
    budget: int,
    *,
    scores: npt.ArrayLike,
    ids: Sequence[bytes],
    seed: int,
    hard_prune: float = 0.1,
    n_bins: int = 50,
    quantiles: bool = False,
    lowest: bool = False,
) -> Picks:
    """Samples from all score bins, fewest members first; a prefix is not such a selection.

    The draw within a bin follows the contents (`random_choice`). Samples without a score (NaN) are
    never chosen. `lowest`: low scores are the hard ones, so the low tail is pruned.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; expected at least 1")
    values = np.asarray(scores, np.float64)
    pool = Ranked.of(values, drop_top=hard_prune, lowest=lowest)
    check_budget(budget, len(pool.order), len(values), pool.dropped)
    order = np.array(content_order(ids, seed), np.int64)
    order = order[np.isin(order, pool.order)]
    bins = _bins(values[order], n_bins, quantiles=quantiles)
    sizes = np.bincount(bins, minlength=n_bins)
    taken = allot(budget, sizes)
    fewest_first = np.argsort(sizes, kind="stable")
    items = np.concatenate([order[bins == k][: taken[k]] for k in fewest_first])
    return Picks(
        items,
        values[items],
        {
            "selector": "stratified",
            "gain": "score",
            "n": len(values),
            "seed": seed,
            "hard_prune": hard_prune,
            "lowest": lowest,
            "bins": "quantile" if quantiles else "equal-width",
            "bin_sizes": sizes.tolist(),
            "bin_picks": taken.tolist(),
            "dropped": pool.dropped,
        },
    )


def allot(budget: int, sizes: Ids) -> Ids:
    """How many to draw from each bin, (K,); bins of 1, 4, 10 share a budget of 9 as 1, 4, 4."""
    taken = np.zeros_like(sizes)
    left = budget
    for done, k in enumerate(np.argsort(sizes, kind="stable")):
        taken[k] = min(int(sizes[k]), left // (len(sizes) - done))
        left -= int(taken[k])
    return taken


def _bins(values: Doubles, n_bins: int, *, quantiles: bool) -> Ids:
    """The bin of each value, (n,); an edge belongs to the upper bin, ±inf to the outermost one."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values), np.int64)
    inner = np.arange(1, n_bins) / n_bins
    if quantiles:
        edges = np.quantile(finite, inner)
    else:
        edges = finite.min() + inner * (finite.max() - finite.min())
    return np.searchsorted(edges, values, side="right")
