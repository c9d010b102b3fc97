"""Kernel ridge and cosine in equal parts: an estimator that ranks well and also selects well.

    S[i, j] = a · ( ridge_ij / sd(ridge) + cos_ij / sd(cos) ) + b

Kernel ridge ranks the sources of a target far better than cosine does, but for samples that it has
not seen its predictions vary little and smoothly, so greedy selection takes sources that resemble
each other. What it cannot explain is shared by neighbours, and cosine knows who they are. Least
squares gives cosine the small weight that its share of the error deserves (residual-on-cosine);
an equal spread keeps the rank and gives the coverage back. Measured in docs/accuracy.md.

The spreads and (a, b) are those of predictions for pairs with both samples left out: on its own
seed, kernel ridge varies much more than elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.network import kernel_ridge
from influence_store.network.baselines import least_squares, raw_cosine
from influence_store.network.labels import folds
from influence_store.network.predict import predict_pairs
from influence_store.network.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import PairEstimator


def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """Fit kernel ridge, then both weights on what it says of pairs that it has not seen."""
    ridge = kernel_ridge.fit(pairs, features, seed=seed)
    settings = kernel_ridge.settings_of(ridge)

    def refit(some: SeedPairs) -> PairEstimator:
        return kernel_ridge.fit(some, features, seed=seed, settings=settings)

    return with_cosine("ridge-and-cosine", ridge, refit, pairs, features, seed=seed)


def with_cosine(
    network: str,
    ranker: PairEstimator,
    refit: Callable[[SeedPairs], PairEstimator],
    pairs: SeedPairs,
    features: Features,
    *,
    seed: int,
) -> PairEstimator:
    """The same for any `ranker` with a `dot` head; `refit` makes one from fewer pairs."""
    cosine = raw_cosine(features)
    unseen, values, similar = _left_out(pairs, features, ranker, refit, cosine, seed)
    spreads = float(unseen.std()) or 1.0, float(similar.std()) or 1.0
    slope, intercept = least_squares(unseen / spreads[0] + similar / spreads[1], values)
    return side_by_side(
        network,
        [(ranker, slope / spreads[0]), (cosine, slope / spreads[1])],
        features,
        # The ranker's own offset is in `unseen`, which `intercept` was fitted to.
        offset=intercept,
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            "slope": slope,
            "ranker_spread": spreads[0],
            "cosine_spread": spreads[1],
            "ranker": {"network": ranker.network, **ranker.facts},
        },
    )


def _left_out(
    pairs: SeedPairs,
    features: Features,
    ranker: PairEstimator,
    refit: Callable[[SeedPairs], PairEstimator],
    cosine: PairEstimator,
    seed: int,
) -> tuple[Gains, Gains, Gains]:
    """Predictions of refits for pairs that they have not seen, labels, cosines: (n_judged,) each.

    Halves of the targets × halves of the sources, each predicted from the opposite quarter; by
    the ranker itself on its own seed where the labels are too few to be divided.
    """
    judged = []
    for fold in folds(pairs, targets=2, sources=2, seed=seed, validation=0.0):
        known, asked = pairs.take(fold.fit), pairs.take(fold.quadrants["Q4"])
        if len(known) and len(asked):
            judged.append((refit(known), asked))
    judged = judged or [(ranker, pairs)]

    def said(estimator: PairEstimator, asked: SeedPairs) -> Gains:
        return predict_pairs(estimator, features, asked.targets, asked.sources)

    unseen = np.concatenate([said(fitted, asked) for fitted, asked in judged])
    similar = np.concatenate([said(cosine, asked) for _, asked in judged])
    return unseen, np.concatenate([asked.values for _, asked in judged]), similar
