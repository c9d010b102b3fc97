"""Cosine, corrected: S = a · cos(e_i, e_j) + two-step kernel ridge of what cosine leaves.

Kernel ridge sees a new sample only through the seed samples it resembles; it cannot know that two
new samples resemble *each other*. Cosine can, and that is what finds the few best sources of a
target. Together they keep the error of the one and the head of the list of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.network import kernel_ridge
from influence_store.network.baselines import fit_cosine
from influence_store.network.labels import SeedPairs
from influence_store.network.predict import predict_pairs
from influence_store.network.side_by_side import side_by_side

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.schema.estimator import PairEstimator


def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """Fit cosine, then kernel ridge on its residuals; their vectors lie side by side."""
    cosine = fit_cosine(pairs, features, seed=seed)
    explained = predict_pairs(cosine, features, pairs.targets, pairs.sources)
    rest = SeedPairs(pairs.targets, pairs.sources, pairs.values - explained, pairs.dropped)
    correction = kernel_ridge.fit(rest, features, seed=seed)
    return side_by_side(
        "residual-on-cosine",
        [(cosine, 1.0), (correction, 1.0)],
        features,
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            "cosine_slope": cosine.facts["slope"],
            "correction": dict(correction.facts),
        },
    )
