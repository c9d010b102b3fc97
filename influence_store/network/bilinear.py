"""Bilinear plus additive: S[i, j] = x_iᵀ B x_j + α·x_i + β·x_j + c, closed form.

With a 1 beside the features, z = (x, 1), this is z_iᵀ W z_j: one matrix W holds B, α, β and c. Two-
step ridge on it (Stock et al., Neural Computation 2018; see kernel_ridge) is two-step kernel ridge
with the linear kernels ⟨z, z'⟩ = ⟨x, x'⟩ + 1, hence solved in as many numbers as there are seed
samples, and on any seed design:

    [(Z_t Z_tᵀ + λ_t I) V (Z_s Z_sᵀ + λ_s I)]_labelled = y,      W = Z_tᵀ V Z_s.

Its towers are single linear maps: no seed sample is needed to serve it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import scaling
from influence_store.network.label_block import LabelBlock, inner_folds, label_block, left_out_error
from influence_store.network.product_system import solve, truncate
from influence_store.schema.estimator import Affine, Head, PairEstimator, Scale, Tower

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs
    from influence_store.protocols import Gains

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
INNER_FOLDS = 4
MAX_RANK = 128
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Settings:
    """The two ridges; every block of features has mean squared norm 1."""

    target_ridge: float = 1.0
    source_ridge: float = 1.0


def fit(
    pairs: SeedPairs, features: Features, *, seed: int, settings: Settings | None = None
) -> PairEstimator:
    """Fit on `pairs`; ridges not given are chosen by error on pairs with both samples left out.

    W is cut to the rank that changes the prediction of no sample within the reach of the seed by
    more than 0.001 standard deviations of the labels (or 128; see facts).
    """
    scale = scaling(features, np.union1d(pairs.targets, pairs.sources))
    x = scale(features.values.astype(np.float64))
    mean, spread = float(pairs.values.mean()), float(pairs.values.std()) or 1.0
    block = label_block(pairs, (pairs.values - mean) / spread)
    z_t, z_s = _with_one(x[block.targets]), _with_one(x[block.sources])
    k_t, k_s = z_t @ z_t.T, z_s @ z_s.T
    if settings is None:
        settings = _search(block, k_t, k_s, np.random.default_rng(seed))
    solved = solve(
        k_t, k_s, block.labelled, block.values, settings.target_ridge, settings.source_ridge
    )
    reach = float(np.sqrt(k_t.diagonal().max() * k_s.diagonal().max()))
    low = truncate(solved.weights, k_t, k_s, tolerance=TOLERANCE / reach, max_rank=MAX_RANK)
    return PairEstimator(
        network="bilinear",
        features=features.names,
        dims=features.dims,
        target_tower=_tower(scale, z_t.T @ low.targets),
        source_tower=_tower(scale, z_s.T @ low.sources),
        head=Head("dot", spread, mean),
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            **asdict(settings),
            "rank": low.targets.shape[1],
            "truncation_error_bound": low.error_bound * reach * spread,
            "solver_iterations": solved.iterations,
            "solver_residual": solved.residual,
        },
    )


def _search(block: LabelBlock, k_t: Gains, k_s: Gains, rng: np.random.Generator) -> Settings:
    """One ridge at a time, twice round, by mean squared error on left-out rows × columns."""
    folds = inner_folds(block, INNER_FOLDS, rng)

    @cache
    def error(settings: Settings) -> float:
        ridges = settings.target_ridge, settings.source_ridge
        return left_out_error(block, k_t, k_s, ridges, folds)

    best = Settings()
    for _ in range(2):
        best = min((replace(best, target_ridge=r) for r in RIDGES), key=error)
        best = min((replace(best, source_ridge=r) for r in RIDGES), key=error)
    return best


def _with_one(x: Gains) -> Gains:
    return np.hstack([x, np.ones((len(x), 1))])


def _tower(scale: Scale, weights: Gains) -> Tower:
    """z ↦ z · weights, as an affine map of x; weights (d + 1, rank)."""
    linear = Affine(weights[:-1].astype(np.float32), weights[-1].astype(np.float32))
    d, rank = linear.weight.shape
    return Tower((scale, linear), d, rank)
