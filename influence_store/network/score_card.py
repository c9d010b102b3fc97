"""Can estimated scores be believed? The card of a pointwise student, from samples kept back.

Every student is fitted on the same folds and asked for the same samples. Predictions of different
fits are never ranked against each other: rank figures are means over folds. Intervals come from
1000 bootstrap samples within each fold, the same ones for all students, so differences are paired.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from influence_store.network.features import EMBEDDING, Features
from influence_store.network.figures import calibration, r_squared, top_k
from influence_store.network.intervals import Interval
from influence_store.network.judged import Pairs
from influence_store.network.score_labels import score_folds
from influence_store.network.score_ranks import kendall, resamples, spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.network.score_labels import SeedScores
    from influence_store.protocols import Gains, Ids
    from influence_store.schema.estimator import ScoreEstimator

    ScoreFit = Callable[..., ScoreEstimator]
    Rank = Callable[[Gains, Gains, Gains], Gains]

Verdict = Literal["trusted", "weak", "no better than length", "no better than mean"]

MEAN, LENGTH = "mean", "length"
RESAMPLES, TILE = 1000, 100
TOP_SHARE = 0.1
#: Kendall looks at all pairs: of each fold it reads so many samples, the same for every student.
KENDALL_SAMPLES = 500


@dataclass(frozen=True)
class HeldOutScores:
    """Judged samples in the order of their folds: label, mean of the labels fitted, fold, (n,).

    `predicted[name]` is (n,) beside them; `samples` are positions among the features.
    """

    samples: Ids
    truth: Gains
    baseline: Gains
    folds: Ids
    predicted: Mapping[str, Gains]

    def pairs(self) -> Pairs:
        """As one row per fold, for the figures of pairs."""
        n = len(self.truth)
        return Pairs(self.truth, self.baseline, np.zeros(n, np.int64), np.arange(n), self.folds)


@dataclass(frozen=True)
class ScoreFigures:
    """One student on the samples kept back. R² is against the fitted labels' mean.

    `top_overlap` is the share of a fold's 10 % highest labels among the 10 % predicted highest,
    `top_chance` that of a guess. The slope is of label on prediction within folds: 1 is
    calibrated, above 1 too cautious, None if a fit tells its samples all the same.
    """

    samples: int
    mse: float
    r2: float
    spearman: float
    kendall: float
    top_overlap: float
    top_chance: float
    calibration_slope: float | None


@dataclass(frozen=True)
class ScoreCard:
    """What is known about one student; `figures[name]` holds it beside all others.

    Intervals are 95 %: Spearman and Kendall, Spearman minus that of `length`, and the share of the
    mean's squared error that is saved. Minus that of `mean`, which has no order, is `spearman`.
    """

    network: str
    figures: Mapping[str, ScoreFigures]
    spearman: Interval
    kendall: Interval
    over_length: Interval
    error_saved: Interval
    settings: Mapping[str, Any]

    @property
    def own(self) -> ScoreFigures:
        """The figures the verdict rests on."""
        return self.figures[self.network]

    @property
    def verdict(self) -> Verdict:
        """By the first rule that holds.

        no better than mean: neither Spearman nor the error saved is above 0 with its interval.
        no better than length: Spearman minus that of `length` is not above 0 with its interval.
        weak: `doubts` is not empty. trusted: otherwise.
        """
        if self.spearman.low <= 0 and self.error_saved.low <= 0:
            return "no better than mean"
        if self.over_length.low <= 0:
            return "no better than length"
        return "weak" if self.doubts else "trusted"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a student that beats length is not trusted yet."""
        own, found = self.own, []
        if own.r2 <= 0:
            found.append(f"R² is {own.r2:.3f}: the mean has the smaller error")
        if own.top_overlap <= own.top_chance:
            found.append(
                f"finds {own.top_overlap:.0%} of the highest tenth, a guess {own.top_chance:.0%}"
            )
        return tuple(found)

    def facts(self) -> dict[str, Any]:
        """As stored with the estimator; JSON-able."""
        intervals = ("spearman", "kendall", "over_length", "error_saved")
        return {
            "network": self.network,
            "verdict": self.verdict,
            "doubts": list(self.doubts),
            "figures": {name: asdict(one) for name, one in self.figures.items()},
            **{name: asdict(getattr(self, name)) for name in intervals},
            **self.settings,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> ScoreCard:
        """The card whose `facts` were stored; its verdict is by the rules of today."""
        rest = {key: value for key, value in facts.items() if key not in ("verdict", "doubts")}
        return cls(
            network=rest.pop("network"),
            figures={name: ScoreFigures(**one) for name, one in rest.pop("figures").items()},
            spearman=Interval(**rest.pop("spearman")),
            kendall=Interval(**rest.pop("kendall")),
            over_length=Interval(**rest.pop("over_length")),
            error_saved=Interval(**rest.pop("error_saved")),
            settings=rest,
        )

    def lines(self) -> list[str]:
        """A short table for a person: samples kept back, best rank first."""
        rows = sorted(self.figures.items(), key=lambda item: -item[1].spearman)
        out = [
            f"{self.network}: {self.verdict}",
            f"{self.own.samples} samples, each judged by a fit that had not seen it",
            f"{'':18}{'R²':>8}{'ρ':>8}{'τ':>8}{'top 10 %':>10}{'slope':>10}",
        ]
        for name, one in rows:
            mark = "→ " if name == self.network else "  "
            slope = "–" if one.calibration_slope is None else f"{one.calibration_slope:.3g}"
            cells = f"{one.r2:>8.2f}{one.spearman:>8.2f}{one.kendall:>8.2f}{one.top_overlap:>10.2f}"
            out.append(f"{mark + name:18}{cells}{slope:>10}")
        out.append(
            f"a guess finds {self.own.top_chance:.2f} of the top 10 %; ρ over length "
            f"{self.over_length.mean:+.2f} "
            f"[{self.over_length.low:+.2f}, {self.over_length.high:+.2f}]"
        )
        return [*out, *(f"doubt: {doubt}" for doubt in self.doubts)]


def predict_held_out(
    labels: SeedScores, features: Features, fits: Mapping[str, ScoreFit], *, count: int, seed: int
) -> HeldOutScores:
    """Fit every student on each fold's fit part and ask it for the part kept back."""
    own = _rows(features, labels.samples)
    parts: list[tuple[Ids, Gains, Ids]] = []
    predicted: dict[str, list[Gains]] = {name: [] for name in fits}
    embedding = own.block(EMBEDDING)
    for number, fold in enumerate(score_folds(embedding, count=count, seed=seed)):
        values, seen, asked = labels.values[fold.fit], _rows(own, fold.fit), _rows(own, fold.judged)
        for name, fit in fits.items():
            estimator = fit(values, seen, seed=seed)
            predicted[name].append(estimator.predict(asked.select(estimator.features).values))
        n = len(fold.judged)
        parts.append((fold.judged, np.full(n, values.mean()), np.full(n, number)))
    judged, baseline, folds = (np.concatenate(one) for one in zip(*parts, strict=True))
    return HeldOutScores(
        labels.samples[judged],
        labels.values[judged],
        baseline,
        folds,
        {name: np.concatenate(one) for name, one in predicted.items()},
    )


@dataclass(frozen=True)
class Draws:
    """Figures under bootstrap samples, (RESAMPLES,) for each student."""

    spearman: Mapping[str, Gains]
    kendall: Mapping[str, Gains]
    error_saved: Mapping[str, Gains]


def draw(held_out: HeldOutScores, *, seed: int) -> Draws:
    """Resample the judged samples of each fold; every student sees the same samples."""
    sums: dict[str, dict[str, Gains]] = {
        what: {name: np.zeros(RESAMPLES) for name in held_out.predicted}
        for what in ("spearman", "kendall", "error_saved")
    }
    rng = np.random.default_rng(seed)
    numbers = np.unique(held_out.folds)
    mean_error = (held_out.truth - held_out.baseline) ** 2
    scale = float(mean_error.mean()) or 1.0
    for number in numbers:
        at = np.flatnonzero(held_out.folds == number)
        for start in range(0, RESAMPLES, TILE):
            tile = slice(start, start + TILE)
            counts = resamples(len(at), TILE, rng)
            few = resamples(min(len(at), KENDALL_SAMPLES), TILE, rng)
            for name, predicted in held_out.predicted.items():
                t, p = held_out.truth[at], predicted[at]
                k = few.shape[1]
                saved = (mean_error[at] - (t - p) ** 2) / scale
                sums["spearman"][name][tile] += spearman(t, p, counts) / len(numbers)
                sums["kendall"][name][tile] += kendall(t[:k], p[:k], few) / len(numbers)
                sums["error_saved"][name][tile] += counts @ saved / len(held_out.truth)
    return Draws(**sums)


def cards(
    held_out: HeldOutScores, draws: Draws, settings: Mapping[str, Any]
) -> dict[str, ScoreCard]:
    """The card of each student, every one beside all others on the same samples."""
    figures = {name: figures_of(held_out, name) for name in held_out.predicted}
    scale = float(((held_out.truth - held_out.baseline) ** 2).mean()) or 1.0
    return {
        name: ScoreCard(
            network=name,
            figures=figures,
            spearman=_interval(own.spearman, draws.spearman[name]),
            kendall=_interval(own.kendall, draws.kendall[name]),
            over_length=_interval(
                own.spearman - figures[LENGTH].spearman,
                draws.spearman[name] - draws.spearman[LENGTH],
            ),
            error_saved=_interval(1.0 - own.mse / scale, draws.error_saved[name]),
            settings=settings,
        )
        for name, own in figures.items()
    }


def figures_of(held_out: HeldOutScores, name: str) -> ScoreFigures:
    """All figures of one student."""
    predicted, pairs = held_out.predicted[name], held_out.pairs()
    smallest = int(np.bincount(held_out.folds).min())
    top = top_k(pairs, predicted, max(1, round(TOP_SHARE * smallest)))
    slope, _ = calibration(_within(held_out, pairs.truth), _within(held_out, predicted))
    return ScoreFigures(
        samples=len(pairs.truth),
        mse=float(((pairs.truth - predicted) ** 2).mean()),
        r2=r_squared(pairs, predicted),
        spearman=_over_folds(held_out, predicted, spearman),
        kendall=_over_folds(held_out, predicted, kendall, KENDALL_SAMPLES),
        top_overlap=top.overlap,
        top_chance=top.chance,
        calibration_slope=slope,
    )


def _over_folds(
    held_out: HeldOutScores, predicted: Gains, rank: Rank, most: int | None = None
) -> float:
    """Mean over folds of a rank coefficient of the first `most` samples, or of all."""
    found = []
    for number in np.unique(held_out.folds):
        at = np.flatnonzero(held_out.folds == number)[:most]
        found.append(float(rank(held_out.truth[at], predicted[at], np.ones((1, len(at))))[0]))
    return float(np.mean(found))


def _within(held_out: HeldOutScores, values: Gains) -> Gains:
    """Values minus their mean over the fold: fits differ in level, which is no merit."""
    total = np.bincount(held_out.folds, values) / np.bincount(held_out.folds)
    rest: Gains = values - total[held_out.folds]
    return rest


def _interval(value: float, draws: Gains) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _rows(features: Features, positions: Ids) -> Features:
    return Features(features.values[positions], features.names, features.dims)
