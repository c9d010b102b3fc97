"""Is a difference more than chance? Runs and held-out samples both vary, and both count.

d[r, i] is what the baseline loses more than the selection on held-out sample i in run r: another
seed, and for random arms another set. With run effects a, sample effects b and the rest e,

    d[r, i] = μ + a_r + b_i + e_ri,        Var(mean) = σ_a²/R + σ_b²/N + σ_e²/(R N)

which the mean squares of the two-way table estimate without bias as (MS_a + MS_b − MS_e) / (R N)
(Searle, Casella and McCulloch 1992, ch. 4); it is never taken to be less than MS_a or MS_b alone
says. The interval is μ ± t · √Var with Satterthwaite's degrees of freedom: with three runs that
differ much, it is as wide as three numbers deserve.

Against random sets one more σ_a² = (MS_a − MS_e) / N is added. A selection is one set, and one set
drawn blindly is also better or worse than the average of such sets: by luck. Without it, two of
five selections without any merit were found to beat random; with it, an interval above 0 says that
a random set would not do as well. Against a baseline whose rows are given, nothing is added: then
the interval is for the difference between these two sets, over seeds and held-out samples.

The sign test (exact, two-sided) asks another thing: on how many samples is the selection's mean
over these runs the better one? It takes the runs as given, so it may see a difference that the
interval cannot claim for others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Doubles

LEVEL = 0.95


@dataclass(frozen=True)
class Paired:
    """`mean` of d with its interval; above 0 = the selection is better. NaN where undefined.

    `better`, `worse` and `equal` count held-out samples, `p_sign` is the sign test's; `runs_better`
    of `runs` have a mean above 0.
    """

    mean: float
    low: float
    high: float
    degrees: float
    runs: int
    samples: int
    better: int
    worse: int
    equal: int
    p_sign: float
    runs_better: int

    def facts(self) -> dict[str, Any]:
        """JSON-able: what is undefined is None."""
        told = asdict(self)
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in told.items()
        }


def paired(
    differences: Doubles, *, fixed: bool = False, drawn: bool = False, level: float = LEVEL
) -> Paired:
    """The comparison of d (R, N); with `fixed` all runs are the same, and one of them is read.

    `drawn` = every run of the baseline has a random set of its own.

    ValueError for an empty table or one with NaN.
    """
    from scipy import stats

    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or not d.size or np.isnan(d).any():
        raise ValueError(f"a table {d.shape} of differences; expected runs × samples, all known")
    d = d[:1] if fixed else d
    by_sample, by_run = d.mean(axis=0), d.mean(axis=1)
    better, worse = int((by_sample > 0).sum()), int((by_sample < 0).sum())
    p_sign = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    low, high, degrees = interval(d, fixed=fixed, drawn=drawn, level=level)
    return Paired(
        mean=float(d.mean()),
        low=low,
        high=high,
        degrees=degrees,
        runs=len(d),
        samples=d.shape[1],
        better=better,
        worse=worse,
        equal=d.shape[1] - better - worse,
        p_sign=p_sign,
        runs_better=int((by_run > 0).sum()),
    )


def interval(
    d: Doubles, *, fixed: bool = False, drawn: bool = False, level: float = LEVEL
) -> tuple[float, float, float]:
    """From, to, and degrees of freedom for the mean of d (R, N); NaN where too few tell nothing."""
    from scipy import special

    variance, degrees = _variance(d, fixed=fixed, drawn=drawn)
    # Student's t, without the bookkeeping of scipy.stats.
    reach = float(special.stdtrit(degrees, (1 + level) / 2) * np.sqrt(variance))
    mean = float(d.mean())
    return mean - reach, mean + reach, degrees


def _variance(d: Doubles, *, fixed: bool, drawn: bool) -> tuple[float, float]:
    """Variance of the mean and its degrees of freedom; NaN where too few tell nothing."""
    n_runs, n_samples = d.shape
    if n_samples < 2 or (n_runs < 2 and not fixed):
        return float("nan"), float("nan")
    if fixed:
        return float(d.var(ddof=1)) / n_samples, n_samples - 1.0
    runs, samples, mean = d.mean(axis=1), d.mean(axis=0), d.mean()
    rest = d - runs[:, None] - samples[None, :] + mean
    squares = (
        float(n_samples * runs.var(ddof=1)),
        float(n_runs * samples.var(ddof=1)),
        float((rest**2).sum() / ((n_runs - 1) * (n_samples - 1))),
    )
    free = (n_runs - 1, n_samples - 1, (n_runs - 1) * (n_samples - 1))
    luck = n_runs if drawn and squares[0] > squares[2] else 0
    parts = ((1 + luck) * squares[0], squares[1], -(1 + luck) * squares[2])
    whole = sum(parts)
    spread = sum(one**2 / count for one, count in zip(parts, free, strict=True))
    degrees = whole**2 / spread if spread > 0 else float(free[0])
    largest = max(squares[:2])
    if whole < largest:
        whole, degrees = largest, float(free[squares.index(largest)])
    return whole / d.size, max(float(min(free)), degrees)
