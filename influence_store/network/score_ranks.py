"""How alike are two orders, and how sure is that? Spearman and Kendall under bootstrap weights.

A bootstrap sample of n items is a count w_i per item with Σ w = n. Both coefficients are computed
from the counts, exactly as if the items had been written out w_i times, without sorting anew:
Spearman as Pearson's r of the mid-ranks  Σ_{k before i} w_k + (w_i + 1)/2,  Kendall's τ-b from the
signs of all pairs, weighing w_i w_k. An order that does not exist (all equal) counts as 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Gains


def spearman(truth: Gains, predicted: Gains, counts: Gains) -> Gains:
    """ρ in [−1, 1] for each row of counts: (n,), (n,), (r, n) → (r,)."""
    a, b = _middle_ranks(truth, counts), _middle_ranks(predicted, counts)
    return _ratio((counts * a * b).sum(1), (counts * a * a).sum(1), (counts * b * b).sum(1))


def kendall(truth: Gains, predicted: Gains, counts: Gains) -> Gains:
    """τ-b in [−1, 1] for each row of counts: (n,), (n,), (r, n) → (r,); holds n² numbers."""
    a, b = (np.sign(one[:, None] - one[None, :]) for one in (truth, predicted))
    return _ratio(*(((counts @ m) * counts).sum(1) for m in (a * b, a * a, b * b)))


def resamples(n: int, times: int, rng: np.random.Generator) -> Gains:
    """Counts (times, n) of drawing n of n items with replacement."""
    counts: Gains = rng.multinomial(n, np.full(n, 1.0 / n), size=times).astype(np.float64)
    return counts


def _middle_ranks(values: Gains, counts: Gains) -> Gains:
    """Mid-rank of each item among all that are counted, minus their mean; (r, n)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    held = np.add.reduceat(counts[:, order], starts, axis=1)
    middle = np.cumsum(held, axis=1) - (held - 1.0) / 2
    ranks: Gains = middle[:, group] - (counts.sum(1, keepdims=True) + 1.0) / 2
    return ranks


def _ratio(shared: Gains, one: Gains, other: Gains) -> Gains:
    size = np.sqrt(one * other)
    known = size > 1e-12
    return np.where(known, shared / np.where(known, size, 1.0), 0.0)
