"""Where does another pick stop paying? The knee of a gain curve, for `--budget auto`.

Kneedle (Satopää, Albrecht, Irwin and Raghavan 2011, "Finding a 'Kneedle' in a Haystack", §III)
on the curve of a greedy order. With c_k = cost of the first k picks and F_k = their value,

    x_k = (c_k − c_1) / (c_n − c_1),   y_k = (F_k − F_1) / (F_n − F_1),   knee = argmax_k y_k − x_k

that is the point farthest above the chord from the first pick to the last. Anchored at the first
pick the knee does not depend on the floor of facility location, which only that pick's gain holds.
It does depend on where the order ends (a shorter order has an earlier knee): give the whole order.

We deviate twice. The curve is not smoothed: a greedy order has no noise. And besides Kneedle's
own demand (the curve sinks from the knee towards the chord by more than the mean step of x, their
S = 1) a bend below `BEND` is called a straight line: such a knee would move with any new sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.selection.curve_plot import curve_plot

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Doubles, Gains

#: The least height above the chord, as a part of the whole rise, that makes a knee.
BEND = 0.05
_KEPT_POINTS = 60
#: Heights that differ by less than rounding are ties.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Knee:
    """`n` is the number of picks at the knee, None where the curve has none.

    `bend` is the height of the curve above its chord there, 0 (straight) to 1 (a corner); `share`
    the part of the whole gain that the first `n` picks hold, 1 where there is no knee. `costs` and
    `shares` are the curve itself, (picks,): what the first k picks cost, and their part of the
    gain.
    """

    n: int | None
    bend: float
    share: float
    costs: Doubles
    shares: Doubles

    def count(self) -> int:
        """The number of picks at the knee; UsageError where there is none."""
        if self.n is None:
            raise UsageError(
                f"the gain curve of {len(self.costs)} picks has no knee (it rises at most "
                f"{self.bend:.3f} above a straight line; a knee needs {BEND})",
                hint="say how much: --budget 10%",
            )
        return self.n

    def facts(self) -> dict[str, Any]:
        """As stored and printed by `--json`; `curve` is a row [picks, cost, share] per point."""
        kept = _spread(len(self.costs), self.n)
        return {
            "n": self.n,
            "bend": self.bend,
            "share": self.share,
            "curve": [[k + 1, float(self.costs[k]), float(self.shares[k])] for k in kept],
        }

    def lines(self, unit: str = "samples") -> list[str]:
        """For people: the curve with its knee, and what it says."""
        mark = None if self.n is None else self.n - 1
        plot = curve_plot(self.costs, self.shares, x_label=unit, y_label="gain", mark=mark)
        if mark is None:
            return [*plot, f"no knee: at most {self.bend:.3f} above a straight line"]
        cost = self.costs[mark]
        return [*plot, f"knee: {cost:,.0f} of {self.costs[-1]:,.0f} {unit} hold {self.share:.1%}"]


def knee(gains: Gains, costs: Doubles | None = None) -> Knee:
    """The knee of the order with these marginal `gains` (n,) and `costs` (n,), by default 1 each.

    Picks behind the highest point of the curve (they lose) are left out; those that gain nothing
    count. ValueError for an empty order, a number that is not finite, or a cost that is not > 0.
    """
    spent = np.ones(len(gains)) if costs is None else np.asarray(costs, np.float64)
    _check(gains, spent)
    value, cost = np.cumsum(gains, dtype=np.float64), np.cumsum(spent)
    top = len(value) - int(np.argmax(value[::-1]))
    value, cost = value[:top], cost[:top]
    best, bend = _farthest(cost, value)
    found = bend > max(BEND, 1 / max(top - 1, 1))
    shares = value / value[-1] if value[-1] > 0 else np.ones(top)
    return Knee(
        best + 1 if found else None, bend, float(shares[best]) if found else 1.0, cost, shares
    )


def _farthest(cost: Doubles, value: Doubles) -> tuple[int, float]:
    """The first point that is farthest above the chord of the curve, and how far, 0..1."""
    run, rise = cost[-1] - cost[0], value[-1] - value[0]
    if run <= 0 or rise <= 0:
        return 0, 0.0
    # (y − x) · run · rise, free of division: for values of a grid, a straight line gives 0.
    height = (value - value[0]) * run - (cost - cost[0]) * rise
    best = int(np.argmax(height >= height.max() - _ROUNDING * run * rise))
    return best, max(0.0, float(height[best] / (run * rise)))


def _check(gains: Gains, costs: Doubles) -> None:
    if len(gains) == 0 or gains.shape != costs.shape:
        raise ValueError(
            f"found {len(gains)} gains and {len(costs)} costs; expected one or more, equally many"
        )
    if not (np.isfinite(gains).all() and np.isfinite(costs).all() and (costs > 0).all()):
        raise ValueError("gains must be finite and costs finite and above 0")


def _spread(n: int, always: int | None) -> npt.NDArray[np.int64]:
    """At most `_KEPT_POINTS` + 1 positions of 0..n−1: evenly, ends included, and the knee."""
    even = np.linspace(0, n - 1, min(n, _KEPT_POINTS)).round().astype(np.int64)
    return np.unique(np.append(even, [] if always is None else [always - 1]).astype(np.int64))
