"""Can an estimator be believed? The accuracy card, from predictions for samples kept back.

Every network and baseline is fitted on the same part of the labels and asked for the same pairs
(labels.folds). The verdict looks only at Q4, pairs of which neither sample was seen, because that
is what a filled store consists of.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from influence_store.network.baselines import row_and_column_effects
from influence_store.network.features import EMBEDDING
from influence_store.network.figures import Figures, Pairs, figures, per_target, spearman
from influence_store.network.labels import QUADRANTS, Fold, SeedPairs
from influence_store.network.predict import predict_pairs
from influence_store.schema.estimator import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.network.features import Features
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import PairEstimator

    Fit = Callable[..., PairEstimator]

Verdict = Literal["trusted", "weak", "no better than cosine", "no better than mean"]

RESAMPLES = 2000
ADDITIVE = 0.99
EFFECTS, RAW_COSINE = "row+column effects", "cosine, raw"


@dataclass(frozen=True)
class HeldOut:
    """Predictions by name for the pairs of each quadrant, pooled over the folds."""

    pairs: Mapping[str, Pairs]
    predicted: Mapping[str, Mapping[str, Gains]]

    def spearman(self, name: str, quadrant: str = "Q4") -> Gains:
        """Spearman of each target that can be ranked, (n_ranked,), in the order of targets."""
        return per_target(self.pairs[quadrant], self.predicted[quadrant][name], spearman)


@dataclass(frozen=True)
class Interval:
    """A mean over targets with its 95 % interval, by resampling targets."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class AccuracyCard:
    """What is known about one network. `figures[quadrant][name]` holds it beside all others.

    Intervals are on Q4, over targets: Spearman, Spearman minus that of cosine and of additive
    ridge for the same targets, and the share of the mean's squared error that it saves.
    """

    network: str
    figures: Mapping[str, Mapping[str, Figures]]
    spearman: Interval
    over_cosine: Interval
    over_additive: Interval
    error_saved: Interval
    settings: Mapping[str, Any]

    @property
    def own(self) -> Figures:
        """The figures the verdict rests on."""
        return self.figures["Q4"][self.network]

    @property
    def verdict(self) -> Verdict:
        """By the first rule that holds.

        no better than mean: neither Spearman nor the error saved is above 0 with its interval.
        no better than cosine: Spearman minus cosine's is not above 0 with its interval.
        weak: `doubts` is not empty. trusted: otherwise.
        """
        if self.spearman.low <= 0 and self.error_saved.low <= 0:
            return "no better than mean"
        if self.over_cosine.low <= 0:
            return "no better than cosine"
        return "weak" if self.doubts else "trusted"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why an estimator that beats cosine is not trusted yet."""
        own, found = self.own, []
        if own.additivity > ADDITIVE:
            found.append(
                f"predictions are {own.additivity:.1%} row + column effect: every target ranks "
                "sources alike, and facility location is blind after its first pick"
            )
        if own.r2 <= 0:
            found.append(f"R² is {own.r2:.3f}: the mean has the smaller error")
        if self.over_additive.low <= 0:
            found.append("ranks no better than one score per sample (additive ridge)")
        return tuple(found)

    def facts(self) -> dict[str, Any]:
        """As stored with the estimator; JSON-able."""
        return {
            "network": self.network,
            "verdict": self.verdict,
            "doubts": list(self.doubts),
            "figures": {
                quadrant: {name: one.facts() for name, one in named.items()}
                for quadrant, named in self.figures.items()
            },
            "spearman": asdict(self.spearman),
            "over_cosine": asdict(self.over_cosine),
            "over_additive": asdict(self.over_additive),
            "error_saved": asdict(self.error_saved),
            **self.settings,
        }

    def lines(self) -> list[str]:
        """A short table for a person: pairs unseen on both sides, best rank first."""
        rows = sorted(
            self.figures["Q4"].items(), key=lambda item: -(item[1].spearman_per_target or 0.0)
        )
        fair = [top for top in self.own.top_k if top.chance <= 1 / 3]
        k, chance = (fair[-1].k, fair[-1].chance) if fair else (0, 0.0)
        out = [
            f"{self.network}: {self.verdict}",
            f"{self.own.pairs} pairs unseen on both sides, {self.own.ranked_targets} targets",
            f"{'':24}{'R²':>8}{'rank ρ':>8}{f'top {k}':>8}{'additive':>10}",
        ]
        for name, one in rows:
            mark = "→ " if name == self.network else "  "
            r2 = None if name == RAW_COSINE else one.r2
            top = next((top.overlap for top in one.top_k if top.k == k), None)
            cells = _cell(r2, 8), _cell(one.spearman_per_target, 8), _cell(top, 8)
            out.append(f"{mark + name:24}{''.join(cells)}{_cell(one.additivity, 10)}")
        out.append(
            f"a guess finds {chance:.2f} of the top {k}; rank ρ over cosine "
            f"{self.over_cosine.mean:+.2f} "
            f"[{self.over_cosine.low:+.2f}, {self.over_cosine.high:+.2f}]"
        )
        return [*out, *(f"doubt: {doubt}" for doubt in self.doubts)]


def predict_held_out(
    pairs: SeedPairs,
    features: Features,
    splits: Sequence[Fold],
    networks: Mapping[str, Fit],
    *,
    seed: int,
) -> HeldOut:
    """Fit every network on each fold's fit part and predict all its quadrants."""
    truth: dict[str, list[Pairs]] = {q: [] for q in QUADRANTS}
    predicted: dict[str, list[dict[str, Gains]]] = {q: [] for q in QUADRANTS}
    unit = _unit_embedding(features)
    for number, fold in enumerate(splits):
        fit_part = pairs.take(fold.fit)
        fitted = {name: fit(fit_part, features, seed=seed) for name, fit in networks.items()}
        for quadrant, mask in fold.quadrants.items():
            asked = pairs.take(mask)
            answers = {
                name: predict_pairs(estimator, features, asked.targets, asked.sources)
                for name, estimator in fitted.items()
            }
            answers[RAW_COSINE] = np.einsum("kd,kd->k", unit[asked.targets], unit[asked.sources])
            answers[EFFECTS] = (
                row_and_column_effects(fit_part, asked.targets, asked.sources)
                if len(asked)
                else np.zeros(0)
            )
            predicted[quadrant].append(answers)
            mean = np.full(len(asked), fit_part.values.mean())
            which = np.full(len(asked), number)
            truth[quadrant].append(Pairs(asked.values, mean, asked.targets, asked.sources, which))
    return HeldOut(
        {q: _joined(parts) for q, parts in truth.items()},
        {
            q: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            for q, parts in predicted.items()
        },
    )


def cards(
    held_out: HeldOut, networks: Sequence[str], settings: Mapping[str, Any], *, seed: int
) -> dict[str, AccuracyCard]:
    """The card of each of `networks`, every one beside all predictors on the same pairs."""
    quadrants = {
        q: {name: figures(pairs, values) for name, values in held_out.predicted[q].items()}
        for q, pairs in held_out.pairs.items()
        if len(pairs.truth)
    }
    judged, predicted = held_out.pairs["Q4"], held_out.predicted["Q4"]
    rank = {name: held_out.spearman(name) for name in {*networks, "cosine", "additive-ridge"}}
    return {
        name: AccuracyCard(
            network=name,
            figures=quadrants,
            spearman=interval(rank[name], seed=seed),
            over_cosine=interval(rank[name] - rank["cosine"], seed=seed),
            over_additive=interval(rank[name] - rank["additive-ridge"], seed=seed),
            error_saved=interval(_error_saved(judged, predicted[name]), seed=seed),
            settings=settings,
        )
        for name in networks
    }


def interval(values: Gains, *, seed: int) -> Interval:
    """Mean, and 2.5 % and 97.5 % percentile of the mean over resampled targets."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def _error_saved(pairs: Pairs, predicted: Gains) -> Gains:
    """Per target: squared error of the mean minus that of `predicted`, as a share of the former.

    The share is of the mean's error over all pairs, so targets weigh by what they contribute.
    """
    mean_error = (pairs.truth - pairs.baseline) ** 2
    saved = mean_error - (pairs.truth - predicted) ** 2
    scale = float(mean_error.mean()) or 1.0
    _, target = np.unique(pairs.targets, return_inverse=True)
    per_row: Gains = np.bincount(target, saved) / np.bincount(target) / scale
    return per_row


def _unit_embedding(features: Features) -> Gains:
    embedding = features.block(EMBEDDING)
    return Unit(0, embedding.shape[1])(embedding.astype(np.float64))


def _joined(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("truth", "baseline", "targets", "sources", "folds")
        )
    )


def _cell(value: float | None, width: int) -> str:
    return f"{'–' if value is None else f'{value:.2f}':>{width}}"
