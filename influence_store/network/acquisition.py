"""Which pairs should the LLM be asked about next, so that the *selection* gets right soonest?

Facility location asks one thing of a kernel: how good is a target's best chosen source? So a
pass is well spent on a pair that may be just that. One round is Thompson sampling (Thompson,
Biometrika 1933; its use for arms with a common model: Russo et al., arXiv 1707.02038):

    S̃_ij = the label, or estimate_ij + σ ε_ij,  ε ~ N(0, 1)       a draw of what may be true
    C    = greedy facility location on S̃, 40 % of the sources      who might be selected
    each target in turn asks about its greatest unknown S̃_ij, j ∈ C

We deviate twice, as measured by benchmarks/active_labelling.py: doubts are independent and of one
size (half the labels' standard deviation: a posterior over all pairs would cost more than the
labels, and what an estimator misses is mostly particular to the pair), and every target is
asked about equally often, because facility location counts every target once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.selection_gain import expected_maximum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Doubles, Flags, Ids

#: Standard deviation of a draw, in standard deviations of the labels.
DOUBT = 0.5
#: Share of the sources that a round may ask about.
CANDIDATES = 0.4
#: The selection is settled after this many small changes in a row.
SETTLED_ROUNDS, SMALL_OVERLAP, SMALL_KEPT = 2, 0.9, 0.99


def believed(estimate: Doubles, labels: Doubles) -> Doubles:
    """The kernel to select by, (n_targets, n_sources): labels where there are any (not NaN)."""
    return np.where(np.isnan(labels), estimate, labels)


def drawn(estimate: Doubles, labels: Doubles, rng: np.random.Generator) -> Doubles:
    """One draw of what the kernel may be, (n_targets, n_sources); labels (not NaN) are certain."""
    doubt = DOUBT * float(np.nanstd(labels))
    return believed(estimate + doubt * rng.standard_normal(estimate.shape), labels)


def next_pairs(
    draw: Doubles, open_: Flags, asked: Ids, candidates: Ids, n_pairs: int
) -> tuple[Ids, Ids]:
    """Positions (targets, sources), each (p,): the `n_pairs` to ask, or all that are open.

    Targets take turns, the one with the fewest `asked` (n_targets,) first, ties by the greatest
    draw. On its turn a target names its greatest `open_` (n_targets, n_sources) source among
    `candidates`, then, when these are used up, among the others.
    """
    outside = np.ones(draw.shape[1], np.bool_)
    outside[candidates] = False
    preference = np.lexsort((-draw, np.broadcast_to(outside, draw.shape), ~open_), axis=1)
    rank = np.argsort(preference, axis=1)
    targets, sources = np.nonzero(open_)
    turn = asked[targets] + rank[targets, sources]
    first = np.lexsort((-draw[targets, sources], turn))[:n_pairs]
    return targets[first], sources[first]


@dataclass(frozen=True)
class Change:
    """What one more round of labels did to the selection.

    `overlap` is the Jaccard index of the selections before and after, 1 = the same set. `kept` is
    the worth of the one before by the kernel of now: 1 = as good as the one after, 0 = as a random
    set of that size.
    """

    overlap: float
    kept: float

    @property
    def small(self) -> bool:
        """Whether nine tenths of the set, or 99 % of its worth, stood."""
        return self.overlap >= SMALL_OVERLAP or self.kept >= SMALL_KEPT


def change(kernel: Doubles, before: Ids, after: Ids) -> Change:
    """Compare two selections of one size by today's `kernel` (n_targets, n_sources)."""
    both, either = np.intersect1d(before, after), np.union1d(before, after)
    chance = float(expected_maximum(kernel, len(after)).sum())
    was, is_ = (float(kernel[:, chosen].max(axis=1).sum()) - chance for chosen in (before, after))
    return Change(len(both) / len(either), was / is_ if is_ > 0 else 1.0)


def settled(changes: Sequence[Change]) -> bool:
    """Whether the last two rounds changed little; `changes` by round."""
    last = changes[-SETTLED_ROUNDS:]
    return len(last) == SETTLED_ROUNDS and all(one.small for one in last)
