"""How well can labels be imitated at all? The agreement of two label sets of the same pairs.

A label is truth + noise. If a second label set repeats the first with noise of its own, equally
strong and independent, the correlation of the two is the reliability of the labels, var(truth) /
var(label), and no estimator can correlate with them better than the truth itself does,

    ceiling = √reliability

(correction for attenuation: Spearman 1904, "The proof and measurement of association between two
things"; Lord and Novick 1968, chapter 3). We take it row by row with rank correlations, where it
holds nearly: for normal values Spearman's ρ is within .02 of Pearson's r. The root of the mean over
rows is at least the mean of the roots, so the ceiling errs upwards. Half of the squared difference
is noise of the labels judged by, so 1 − R² of a perfect estimator is half of 1 − R² of the repeat.

Between two *models* agreement is not such a repeat: they differ in opinion as well as in noise. It
tells what an estimate of one is worth as an estimate of the other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.counted import counted
from influence_store.network.figures import per_target, r_squared, spearman
from influence_store.network.intervals import Interval, interval
from influence_store.network.judged import Pairs

if TYPE_CHECKING:
    from influence_store.protocols import Gains, Ids


@dataclass(frozen=True)
class Agreement:
    """Two values of each of `pairs` pairs. Ranks and R² are 1 where they are the same.

    `spearman` is over the sources of each target, the mean of `ranked_targets` with its 95 %
    interval, None where no target has 3 labels that differ. R² is that of the second value for
    the first. Differences are second − first, in units of the labels.
    """

    pairs: int
    ranked_targets: int
    spearman: Interval | None
    r2: float
    mean_difference: float
    sd_difference: float

    @property
    def spearman_ceiling(self) -> float | None:
        """Mean row Spearman with these labels that a perfect estimator could reach."""
        return None if self.spearman is None else float(np.sqrt(max(self.spearman.mean, 0.0)))

    @property
    def r2_ceiling(self) -> float:
        """R² for these labels that a perfect estimator could reach; 1 = they have no noise."""
        return (1.0 + self.r2) / 2

    def facts(self) -> dict[str, Any]:
        """As stored; JSON-able."""
        ceilings = {"spearman_ceiling": self.spearman_ceiling, "r2_ceiling": self.r2_ceiling}
        return {**asdict(self), **ceilings}

    def line(self) -> str:
        """For people: how far the two agree."""
        rank = (
            "no target with 3 labels to rank"
            if self.spearman is None
            else f"rank ρ {self.spearman.mean:.3f} [{self.spearman.low:.2f}, "
            f"{self.spearman.high:.2f}] over {counted(self.ranked_targets, 'target')}"
        )
        return (
            f"{counted(self.pairs, 'pair')}, {rank}, R² {self.r2:.3f}, difference "
            f"{self.mean_difference:+.2g} ± {self.sd_difference:.2g}"
        )


def agreement(
    first: Gains, second: Gains, targets: Ids, sources: Ids, *, seed: int
) -> Agreement | None:
    """Of two values per pair, all arrays (n,); pairs that one did not measure (NaN) are left out.

    None if no pair has both values; `seed` draws the resamples of the interval.
    """
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return None
    first, second = first[both].astype(np.float64), second[both].astype(np.float64)
    targets, sources = targets[both], sources[both]
    pairs = Pairs(first, np.full(len(first), first.mean()), targets, sources, 0 * targets)
    rho = per_target(pairs, second, spearman)
    return Agreement(
        pairs=len(first),
        ranked_targets=len(rho),
        spearman=interval(rho, seed=seed) if len(rho) else None,
        r2=r_squared(pairs, second),
        mean_difference=float((second - first).mean()),
        sd_difference=float((second - first).std()),
    )
