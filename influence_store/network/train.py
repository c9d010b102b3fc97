"""Which estimator do these labels support? Fit all, judge on samples kept back, refit the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import InputError
from influence_store.network import NETWORKS
from influence_store.network.evaluate import AccuracyCard, HeldOut, cards, predict_held_out
from influence_store.network.figures import Pairs
from influence_store.network.labels import SeedPairs, folds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.network.features import Features
    from influence_store.schema.estimator import PairEstimator

BASELINES = ("mean", "cosine", "additive-ridge")
DEFAULT_NETWORKS = ("two-step-kernel-ridge", "residual-on-cosine", "nn-cift")
FOLDS = 4
MIN_TARGETS = 8


@dataclass(frozen=True)
class Trained:
    """The winner refitted on all labels, its card, every candidate's card, and the evidence.

    The cards speak about fits without the kept-back samples; the refit has seen more.
    """

    estimator: PairEstimator
    card: AccuracyCard
    cards: Mapping[str, AccuracyCard]
    held_out: HeldOut


def train(
    labels: SeedPairs,
    features: Features,
    *,
    networks: Sequence[str] = DEFAULT_NETWORKS,
    seed: int,
) -> Trained:
    """Choose among `networks` and the baselines by Spearman per target on unseen pairs (Q4).

    The simplest candidate that is within one standard error of the best wins (the error of the
    paired difference, row by row), so a baseline can win. InputError before any training if the
    labels cannot teach or cannot judge.
    """
    names = _simplest_first([*BASELINES, *networks])
    fits = {name: NETWORKS.get(name) for name in names}
    _check(labels, seed)
    held_out = predict_held_out(
        labels, features, list(folds(labels, count=FOLDS, seed=seed)), fits, seed=seed
    )
    settings = {"seed": seed, "folds": FOLDS, "labels": labels.facts()}
    judged = cards(held_out, names, settings, seed=seed)
    winner = choose(held_out, names)
    estimator = fits[winner](labels, features, seed=seed)
    return Trained(estimator, judged[winner], judged, held_out)


def choose(held_out: HeldOut, names: Sequence[str]) -> str:
    """The first of `names` (simplest first) not worse than the best by over a standard error."""
    per_row = {name: held_out.spearman(name) for name in names}
    best = max(names, key=lambda name: float(per_row[name].mean()))
    for name in names:
        behind = per_row[best] - per_row[name]
        error = float(behind.std(ddof=1)) / np.sqrt(len(behind))
        if float(behind.mean()) <= error:
            return name
    return best


def _check(labels: SeedPairs, seed: int) -> None:
    """Fail in the first second, not after the fits."""
    facts = labels.facts() if len(labels) else {"targets": 0, "sources": 0}
    if facts["targets"] < 2 or facts["sources"] < 2:
        raise InputError(
            f"labels cover {facts['targets']} targets and {facts['sources']} sources, "
            f"expected at least 2 of each (dropped: {dict(labels.dropped) or 'nothing'})",
            hint="label more pairs: influence-store label … --pairs 2000",
        )
    if np.ptp(labels.values) == 0:
        raise InputError(
            f"all {len(labels)} labels are {labels.values[0]:g}; there is nothing to learn",
            hint="check the teacher: influence-store query 'select * from pairs limit 20'",
        )
    ranked: set[int] = set()
    for fold in folds(labels, count=FOLDS, seed=seed):
        fitted, asked = labels.values[fold.fit], labels.take(fold.quadrants["Q4"])
        if len(fitted) < 2 or np.ptp(fitted) == 0:
            raise InputError(
                f"{len(labels)} pairs of {facts['targets']} targets × {facts['sources']} sources "
                "are too few: with a quarter of the samples kept back, nothing is left to fit",
                hint="label more pairs: influence-store label … --pairs 2000",
            )
        judged = Pairs(asked.values, asked.values, asked.targets, asked.sources, asked.targets * 0)
        ranked.update(t for at in judged.ranked_rows() for t in asked.targets[at[:, 0]].tolist())
    if len(ranked) < MIN_TARGETS:
        raise InputError(
            f"{len(ranked)} targets have 3 unseen sources to be ranked by, expected {MIN_TARGETS}: "
            f"{len(labels)} pairs of {facts['targets']} targets × {facts['sources']} sources",
            hint="label fewer targets with more sources each: at least 20 × 20",
        )


def _simplest_first(names: Sequence[str]) -> list[str]:
    """Distinct names in the registry's order, which runs from simple to less simple."""
    known = list(NETWORKS.entries())
    for name in names:
        if name not in known:
            NETWORKS.get(name)  # says which names exist
    return sorted(set(names), key=known.index)
