"""How sure is a number? Two kinds of interval, as they stand on a card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Gains

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over targets with its 95 % interval, by resampling targets."""

    mean: float
    low: float
    high: float


def interval(values: Gains, *, seed: int, among: int = 1) -> Interval:
    """Mean, and 2.5 % and 97.5 % percentile of the mean over resampled targets.

    `among` widens it for the best of so many candidates (Bonferroni): the best of six looks good
    by chance six times as often.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    tail = 2.5 / among
    low, high = np.percentile(values[draws].mean(axis=1), [tail, 100 - tail])
    return Interval(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class ConformalInterval:
    """Estimate ± `half_width`, in units of the labels, for a share `coverage` of values.

    `half_width` is None where `n_calibration` errors are too few to promise that much.
    `measured_coverage` is the share of held-out values caught when their own groups did not
    calibrate, None where that left too few.
    """

    coverage: float
    half_width: float | None
    n_calibration: int
    measured_coverage: float | None

    def facts(self) -> dict[str, Any]:
        """As stored; JSON-able."""
        return asdict(self)

    def line(self) -> str:
        """For people, to stand after the name of what it speaks about."""
        if self.half_width is None:
            return f"no {self.coverage:.0%} interval: {self.n_calibration} held-out values"
        told = f"± {self.half_width:.3g} holds {self.coverage:.0%}"
        if self.measured_coverage is None:
            return f"{told} (from {self.n_calibration} held-out values)"
        return f"{told} (measured {self.measured_coverage:.0%} of {self.n_calibration} held out)"
