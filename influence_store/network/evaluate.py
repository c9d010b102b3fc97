"""What do networks predict for samples kept back, and which card does that earn them?

Every network and baseline is fitted on the same part of the labels and asked for the same pairs
(labels.folds), so that all figures compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.network.baselines import row_and_column_effects
from influence_store.network.card import EFFECTS, RAW_COSINE, AccuracyCard, ShareGain
from influence_store.network.features import EMBEDDING
from influence_store.network.figures import figures, per_target, spearman, without_effects
from influence_store.network.intervals import interval
from influence_store.network.judged import Pairs
from influence_store.network.labels import QUADRANTS, Fold, SeedPairs
from influence_store.network.predict import predict_pairs
from influence_store.network.selection_gain import SHARES, selection_gain
from influence_store.schema.estimator import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from influence_store.network.features import Features
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import PairEstimator

    Fit = Callable[..., PairEstimator]


@dataclass(frozen=True)
class HeldOut:
    """Predictions by name for the pairs of each quadrant, pooled over the folds."""

    pairs: Mapping[str, Pairs]
    predicted: Mapping[str, Mapping[str, Gains]]

    def spearman(self, name: str, quadrant: str = "Q4") -> Gains:
        """Spearman of each target that can be ranked, (n_ranked,), in the order of targets."""
        return per_target(self.pairs[quadrant], self.predicted[quadrant][name], spearman)

    @property
    def label_additivity(self) -> float:
        """Share of the variance of the labels in Q4 that row + column effects explain."""
        return without_effects(self.pairs["Q4"], self.pairs["Q4"].truth)[1]

    def interaction_error(self, name: str) -> Gains:
        """Mean squared error in Q4 beyond row and column effects, per target, (n_targets,)."""
        judged = self.pairs["Q4"]
        truth, _ = without_effects(judged, judged.truth)
        predicted, _ = without_effects(judged, self.predicted["Q4"][name])
        _, target = np.unique(judged.targets, return_inverse=True)
        mean: Gains = np.bincount(target, (truth - predicted) ** 2) / np.bincount(target)
        return mean

    def gain(self, name: str, share: float) -> Gains | None:
        """Selection gain in Q4 per target, (n_targets,); None where no set can be judged."""
        found = selection_gain(self.pairs["Q4"], self.predicted["Q4"][name], share)
        return None if found is None else found.per_target()


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
            rank_floor=interval(rank[name], seed=seed, among=len(networks)).low,
            over_cosine=interval(rank[name] - rank["cosine"], seed=seed),
            over_additive=interval(rank[name] - rank["additive-ridge"], seed=seed),
            error_saved=interval(_error_saved(judged, predicted[name]), seed=seed),
            selection=tuple(_share_gains(held_out, name, seed)),
            settings=settings,
        )
        for name in networks
    }


def _share_gains(held_out: HeldOut, name: str, seed: int) -> Iterator[ShareGain]:
    for share in SHARES:
        own, cosine = held_out.gain(name, share), held_out.gain("cosine", share)
        if own is not None and cosine is not None:
            yield ShareGain(share, interval(own, seed=seed), interval(own - cosine, seed=seed))


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
