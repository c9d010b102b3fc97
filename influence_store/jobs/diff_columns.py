"""How does a column of numbers differ between the rows that came, those that went and the rest?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.counted import counted

if TYPE_CHECKING:
    from influence_store.protocols import Doubles

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Spread:
    """How many rows have a value, and its quantiles at QUANTILES; none where no row has one."""

    rows: int
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Doubles) -> Spread:
        """Of all finite values."""
        return cls(
            len(values), tuple(np.quantile(values, QUANTILES).tolist()) if len(values) else ()
        )

    @property
    def median(self) -> float:
        """NaN where no row has a value."""
        return self.quantiles[2] if self.quantiles else float("nan")


@dataclass(frozen=True)
class Compared:
    """Some rows against others: shift of the median, and two statistics without assumptions.

    `distance` is Kolmogorov and Smirnov's, the largest gap between the two distribution functions,
    in [0, 1], with its `p_value`; `above` is the probability that one of these rows has a higher
    value than one of the others, ties counted half.
    """

    median_shift: float
    distance: float
    p_value: float
    above: float

    @classmethod
    def of(cls, these: Doubles, others: Doubles) -> Compared | None:
        """None where one side is empty."""
        from scipy.stats import ks_2samp, mannwhitneyu

        if not (len(these) and len(others)):
            return None
        gap = ks_2samp(these, others)
        wins = mannwhitneyu(these, others).statistic
        return cls(
            float(np.median(these) - np.median(others)),
            float(gap.statistic),
            float(gap.pvalue),
            float(wins / len(these) / len(others)),
        )


@dataclass(frozen=True)
class Shift:
    """One column: added rows against all of the old version, removed rows against those kept."""

    column: str
    higher_means: str
    added: Spread
    removed: Spread
    kept: Spread
    added_to_old: Compared | None
    removed_to_kept: Compared | None

    @property
    def in_both(self) -> bool:
        """Whether both versions have values."""
        old, new = self.removed.rows + self.kept.rows, self.added.rows + self.kept.rows
        return old > 0 and new > 0

    def lines(self) -> list[str]:
        """For people: medians and quartiles, then what the statistics say."""
        means = "" if self.higher_means == "neither" else f", higher = {self.higher_means}"
        told = [f"  {self.column}{means}"]
        for name in ("added", "removed", "kept"):
            spread: Spread = getattr(self, name)
            if spread.rows:
                _, low, middle, high, _ = spread.quantiles
                told.append(
                    f"    {name:<8} median {middle:.4g} (half of {counted(spread.rows, 'row')} in "
                    f"{low:.4g} … {high:.4g})"
                )
        for name, against, found in (
            ("added", "the old rows", self.added_to_old),
            ("removed", "those kept", self.removed_to_kept),
        ):
            if found is not None:
                told.append(
                    f"    {name} against {against}: median {found.median_shift:+.4g}, above them "
                    f"{found.above:.0%} of the time, distance {found.distance:.2f} "
                    f"(p = {found.p_value:.2g})"
                )
        return told


def shift(column: str, higher_means: str, added: Doubles, removed: Doubles, kept: Doubles) -> Shift:
    """Compare the values (n,) of added, removed and kept rows; what is not finite is left out."""
    added, removed, kept = (one[np.isfinite(one)] for one in (added, removed, kept))
    return Shift(
        column,
        higher_means,
        Spread.of(added),
        Spread.of(removed),
        Spread.of(kept),
        Compared.of(added, np.concatenate([removed, kept])),
        Compared.of(removed, kept),
    )
