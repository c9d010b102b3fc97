"""Cosine, corrected: S = a · cos(e_i, e_j) + two-step kernel ridge of what cosine leaves.

Kernel ridge sees a new sample only through the seed samples it resembles; it cannot know that two
new samples resemble *each other*. Cosine can, and that is what finds the few best sources of a
target. Together they keep the error of the one and the head of the list of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.network import kernel_ridge
from influence_store.network.baselines import fit_cosine
from influence_store.network.labels import SeedPairs
from influence_store.network.predict import predict_pairs
from influence_store.schema.estimator import Beside, Columns, Head, PairEstimator, Scale, Tower

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.schema.estimator import Layer


def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """Fit cosine, then kernel ridge on its residuals; their vectors lie side by side."""
    cosine = fit_cosine(pairs, features, seed=seed)
    explained = predict_pairs(cosine, features, pairs.targets, pairs.sources)
    rest = SeedPairs(pairs.targets, pairs.sources, pairs.values - explained, pairs.dropped)
    correction = kernel_ridge.fit(rest, features, seed=seed)
    both = (cosine, correction)
    d = features.values.shape[1]
    width = sum(one.target_tower.d_out for one in both)
    target = tuple(_scaled_part(one, one.target_tower, features) for one in both)
    source = tuple(_scaled_part(one, one.source_tower, features) for one in both)
    return PairEstimator(
        network="residual-on-cosine",
        features=features.names,
        dims=features.dims,
        target_tower=Tower((Beside(target),), d, width),
        source_tower=Tower((Beside(source),), d, width),
        head=Head("dot", 1.0, sum(one.head.offset for one in both)),
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            "cosine_slope": cosine.facts["slope"],
            "correction": dict(correction.facts),
        },
    )


def _scaled_part(one: PairEstimator, tower: Tower, features: Features) -> tuple[Layer, ...]:
    """The tower of a dot estimator, reading its blocks, with √scale in its vectors."""
    start, stop = features.span(one.features)
    root = np.full(tower.d_out, np.sqrt(one.head.scale), np.float32)
    return (Columns(start, stop), *tower.layers, Scale(root, np.zeros_like(root)))
