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
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import scaling
from influence_store.network.product_system import solve, truncate
from influence_store.protocols import Gains, Ids
from influence_store.schema.estimator import Affine, Head, PairEstimator, RadialBasis, Scale, Tower

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs

WIDTHS = (0.1, 0.25, 0.5, 1.0)
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)
SEARCH_TARGETS, SEARCH_SOURCES = 200, 80
INNER_FOLDS = 4
SEARCH_TOLERANCE, SEARCH_ITERATIONS = 3e-2, 40
MAX_RANK = 128
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Settings:
    """γ of exp(−γ‖x − x'‖²) per unit of mean squared norm, and the two ridges."""

    width: float = 0.5
    target_ridge: float = 0.3
    source_ridge: float = 0.3


@dataclass(frozen=True)
class _Block:
    """Labels as a matrix over distinct targets × sources; `labelled` says which cells are real."""

    targets: Ids
    sources: Ids
    labelled: npt.NDArray[np.bool_]
    values: Gains


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
    block = _block(pairs, (pairs.values - mean) / spread)
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


def _search(block: _Block, x: Gains, blocks_of_features: int, rng: np.random.Generator) -> Settings:
    """One setting at a time, twice round, by mean squared error on left-out rows × columns.

    The same folds serve every setting; a big block is searched on a sample of itself.
    """
    block = _sample(block, rng)
    row_fold = rng.permutation(len(block.targets)) % INNER_FOLDS
    column_fold = rng.permutation(len(block.sources)) % INNER_FOLDS
    known: dict[Settings, float] = {}

    def error(settings: Settings) -> float:
        if settings not in known:
            gamma = settings.width / blocks_of_features
            known[settings] = _left_out_error(block, x, gamma, settings, row_fold, column_fold)
        return known[settings]

    best = Settings()
    for _ in range(2):
        best = min((replace(best, width=w) for w in WIDTHS), key=error)
        best = min((replace(best, target_ridge=r) for r in RIDGES), key=error)
        best = min((replace(best, source_ridge=r) for r in RIDGES), key=error)
    return best


def _left_out_error(
    block: _Block, x: Gains, gamma: float, settings: Settings, row_fold: Ids, column_fold: Ids
) -> float:
    """Mean squared error on pairs of which both samples were left out of the fit.

    Falls back to the variance of the labels (1) where the folds leave no such pair.
    """
    k_t = _gaussian(x[block.targets], x[block.targets], gamma)
    k_s = _gaussian(x[block.sources], x[block.sources], gamma)
    total, count = 0.0, 0
    for fold in range(INNER_FOLDS):
        rows, columns = row_fold != fold, column_fold != fold
        labelled = block.labelled[np.ix_(rows, columns)]
        asked = block.labelled[np.ix_(~rows, ~columns)]
        if not labelled.any() or not asked.any():
            continue
        values = block.values[np.ix_(rows, columns)]
        mean = values[labelled].mean()
        weights = solve(
            k_t[np.ix_(rows, rows)],
            k_s[np.ix_(columns, columns)],
            labelled,
            values - mean,
            settings.target_ridge,
            settings.source_ridge,
            tolerance=SEARCH_TOLERANCE,
            max_iterations=SEARCH_ITERATIONS,
        ).weights
        predicted = k_t[np.ix_(~rows, rows)] @ weights @ k_s[np.ix_(columns, ~columns)] + mean
        total += float(((predicted - block.values[np.ix_(~rows, ~columns)])[asked] ** 2).sum())
        count += int(asked.sum())
    return total / count if count else 1.0


def _block(pairs: SeedPairs, values: Gains) -> _Block:
    targets, row = np.unique(pairs.targets, return_inverse=True)
    sources, column = np.unique(pairs.sources, return_inverse=True)
    labelled = np.zeros((len(targets), len(sources)), bool)
    matrix = np.zeros(labelled.shape)
    labelled[row, column] = True
    matrix[row, column] = values
    return _Block(targets, sources, labelled, matrix)


def _sample(block: _Block, rng: np.random.Generator) -> _Block:
    """At most 200 × 80 of the block: enough to choose three numbers by."""
    rows = np.sort(rng.permutation(len(block.targets))[:SEARCH_TARGETS])
    columns = np.sort(rng.permutation(len(block.sources))[:SEARCH_SOURCES])
    cut = np.ix_(rows, columns)
    return _Block(
        block.targets[rows], block.sources[columns], block.labelled[cut], block.values[cut]
    )


def _gaussian(a: Gains, b: Gains, gamma: float) -> Gains:
    return RadialBasis(b.astype(np.float32), gamma)(a)


def _tower(scale: Scale, centres: Gains, gamma: float, weights: Gains, d: int) -> Tower:
    rank = weights.shape[1]
    expansion = RadialBasis(centres.astype(np.float32), gamma)
    linear = Affine(weights.astype(np.float32), np.zeros(rank, np.float32))
    return Tower((scale, expansion, linear), d, rank)
