"""Two-step kernel ridge: S ≈ k_t(x_i)ᵀ A k_s(x_j), closed form, for any seed design.

Stock, Pahikkala, Airola, De Baets, Waegeman, "A comparative study of pairwise learning methods
based on kernel ridge regression", Neural Computation 2018: on a complete block of labels Y,

    A = (K_t + λ_t I)⁻¹ Y (K_s + λ_s I)⁻¹.

That A is also the answer of one Gaussian process with covariance (K_t + λ_t I) ⊗ (K_s + λ_s I)
over the pairs. Labels of a column design are not a complete block, so we ask this process for
what it says given the pairs that *were* labelled: solve for V, supported on those pairs,

    [(K_t + λ_t I) V (K_s + λ_s I)]_labelled = y,          A = V.

Kernels are Gaussian in the scaled features; they contain main effects as well as interaction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import scaling
from influence_store.network.label_block import LabelBlock, inner_folds, label_block, left_out_error
from influence_store.network.product_system import solve, truncate
from influence_store.protocols import Gains
from influence_store.schema.estimator import Affine, Head, PairEstimator, RadialBasis, Scale, Tower

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs

WIDTHS = (0.1, 0.25, 0.5, 1.0)
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)
INNER_FOLDS = 4
MAX_RANK = 128
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Settings:
    """γ of exp(−γ‖x − x'‖²) per unit of mean squared norm, and the two ridges."""

    width: float = 0.5
    target_ridge: float = 0.3
    source_ridge: float = 0.3


def fit(
    pairs: SeedPairs, features: Features, *, seed: int, settings: Settings | None = None
) -> PairEstimator:
    """Fit on `pairs`; settings not given are chosen by error on pairs with both samples left out.

    Towers are kernel expansions over the seed samples, cut to the rank that changes no
    prediction by more than 0.001 standard deviations of the labels (or 128; see facts).
    """
    scale = scaling(features, np.union1d(pairs.targets, pairs.sources))
    x = scale(features.values.astype(np.float64))
    mean, spread = float(pairs.values.mean()), float(pairs.values.std()) or 1.0
    block = label_block(pairs, (pairs.values - mean) / spread)
    blocks_of_features = len(features.names)

    if settings is None:
        settings = _search(block, x, blocks_of_features, np.random.default_rng(seed))
    gamma = settings.width / blocks_of_features
    k_t = _gaussian(x[block.targets], x[block.targets], gamma)
    k_s = _gaussian(x[block.sources], x[block.sources], gamma)
    solved = solve(
        k_t, k_s, block.labelled, block.values, settings.target_ridge, settings.source_ridge
    )
    low = truncate(solved.weights, k_t, k_s, tolerance=TOLERANCE, max_rank=MAX_RANK)

    d = features.values.shape[1]
    return PairEstimator(
        network="two-step-kernel-ridge",
        features=features.names,
        dims=features.dims,
        target_tower=_tower(scale, x[block.targets], gamma, low.targets, d),
        source_tower=_tower(scale, x[block.sources], gamma, low.sources, d),
        head=Head("dot", spread, mean),
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            **asdict(settings),
            "gamma": gamma,
            "rank": low.targets.shape[1],
            "truncation_error_bound": low.error_bound * spread,
            "solver_iterations": solved.iterations,
            "solver_residual": solved.residual,
        },
    )


def settings_of(estimator: PairEstimator) -> Settings:
    """The settings an estimator of this file was fitted with."""
    return Settings(**{one.name: estimator.facts[one.name] for one in fields(Settings)})


def _search(
    block: LabelBlock, x: Gains, blocks_of_features: int, rng: np.random.Generator
) -> Settings:
    """One setting at a time, twice round, by mean squared error on left-out rows × columns.

    The same folds serve every setting.
    """
    folds = inner_folds(block, INNER_FOLDS, rng)

    @cache
    def kernels(width: float) -> tuple[Gains, Gains]:
        gamma = width / blocks_of_features
        targets, sources = x[block.targets], x[block.sources]
        return _gaussian(targets, targets, gamma), _gaussian(sources, sources, gamma)

    @cache
    def error(settings: Settings) -> float:
        ridges = settings.target_ridge, settings.source_ridge
        return left_out_error(block, *kernels(settings.width), ridges, folds)

    best = Settings()
    for _ in range(2):
        best = min((replace(best, width=w) for w in WIDTHS), key=error)
        best = min((replace(best, target_ridge=r) for r in RIDGES), key=error)
        best = min((replace(best, source_ridge=r) for r in RIDGES), key=error)
    return best


def _gaussian(a: Gains, b: Gains, gamma: float) -> Gains:
    return RadialBasis(b.astype(np.float32), gamma)(a)


def _tower(scale: Scale, centres: Gains, gamma: float, weights: Gains, d: int) -> Tower:
    rank = weights.shape[1]
    expansion = RadialBasis(centres.astype(np.float32), gamma)
    linear = Affine(weights.astype(np.float32), np.zeros(rank, np.float32))
    return Tower((scale, expansion, linear), d, rank)
