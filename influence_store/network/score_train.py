"""Which student do these scores support? Fit all, judge on samples kept back, refit the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.counted import counted
from influence_store.errors import InputError, NotFound
from influence_store.network import score_net
from influence_store.network.features import Features
from influence_store.network.score_card import (
    LENGTH,
    MEAN,
    Draws,
    HeldOutScores,
    ScoreCard,
    cards,
    draw,
    figures_of,
    predict_held_out,
)
from influence_store.network.score_fits import (
    fit_kernel_ridge,
    fit_length,
    fit_mean,
    fit_neighbours,
    fit_ridge,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.network.score_card import ScoreFit
    from influence_store.network.score_labels import SeedScores
    from influence_store.schema.estimator import ScoreEstimator

#: From the simplest to the least simple: ties go to the earlier one.
SCORE_FITS: dict[str, ScoreFit] = {
    MEAN: fit_mean,
    LENGTH: fit_length,
    "ridge": fit_ridge,
    "neighbours": fit_neighbours,
    "kernel-ridge": fit_kernel_ridge,
    "score-net": score_net.fit,
}
FOLDS = 5
MIN_SAMPLES = 30


@dataclass(frozen=True)
class TrainedScores:
    """The winner refitted on all labels, its card, every candidate's card, and the evidence."""

    estimator: ScoreEstimator
    card: ScoreCard
    cards: Mapping[str, ScoreCard]
    held_out: HeldOutScores


def train_scores(
    labels: SeedScores,
    features: Features,
    *,
    networks: Sequence[str] = tuple(SCORE_FITS),
    seed: int,
) -> TrainedScores:
    """Choose among `networks`, mean and length by Spearman on samples kept back.

    The simplest candidate within one standard error of the best wins (the error of the paired
    difference), so a baseline can win. InputError before any training if the labels cannot teach.
    """
    fits = _candidates(networks)
    _check(labels)
    held_out = predict_held_out(labels, features, fits, count=FOLDS, seed=seed)
    draws = draw(held_out, seed=seed)
    settings = {"seed": seed, "folds": FOLDS, "labels": labels.facts()}
    judged = cards(held_out, draws, settings)
    winner = choose_scores(held_out, draws)
    own = Features(features.values[labels.samples], features.names, features.dims)
    estimator = fits[winner](labels.values, own, seed=seed)
    return TrainedScores(estimator, judged[winner], judged, held_out)


def choose_scores(held_out: HeldOutScores, draws: Draws) -> str:
    """The simplest student not worse than the best by over a standard error."""
    rank = {name: figures_of(held_out, name).spearman for name in held_out.predicted}
    best = max(rank, key=lambda name: rank[name])
    for name in rank:
        error = float((draws.spearman[best] - draws.spearman[name]).std())
        if rank[best] - rank[name] <= error:
            return name
    return best


def _candidates(names: Sequence[str]) -> dict[str, ScoreFit]:
    for name in names:
        if name not in SCORE_FITS:
            raise NotFound.named("score network", name, list(SCORE_FITS))
    return {name: fit for name, fit in SCORE_FITS.items() if name in {MEAN, LENGTH, *names}}


def _check(labels: SeedScores) -> None:
    """Fail in the first second, not after the fits."""
    if len(labels) < MIN_SAMPLES:
        raise InputError(
            f"{counted(len(labels), 'sample has', 'samples have')} a usable score, "
            f"expected at least {MIN_SAMPLES} (dropped: {dict(labels.dropped) or 'nothing'})",
            hint="label more rows: influence-store label … --rows 500",
        )
    if np.ptp(labels.values) == 0:
        raise InputError(
            f"all {len(labels)} scores are {labels.values[0]:g}; there is nothing to learn",
            hint="check the teacher: influence-store query 'select * from points limit 20'",
        )
