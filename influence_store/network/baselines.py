"""What must an estimator beat? The mean, cosine, and a sum of one score per side.

Each is an estimator of the common form, so a baseline that wins can be exported and used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import EMBEDDING, scaling
from influence_store.network.labels import folds
from influence_store.network.predict import predict_pairs
from influence_store.protocols import Gains, Ids
from influence_store.schema.estimator import Affine, Head, PairEstimator, Tower, Unit

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.network.labels import Fold, SeedPairs

RIDGES = tuple(float(10.0**k) for k in range(-2, 6))
INNER_FOLDS = 4


def fit_mean(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = mean of the labels: the estimate whose R² is 0."""
    d = features.values.shape[1]
    tower = Tower((Affine(np.zeros((d, 1), np.float32), np.zeros(1, np.float32)),), d, 1)
    head = Head("dot", 1.0, float(pairs.values.mean()))
    facts = {"labels": pairs.facts(), "seed": seed}
    return PairEstimator("mean", features.names, features.dims, tower, tower, head, facts)


def raw_cosine(features: Features) -> PairEstimator:
    """S[i, j] = cos(e_i, e_j), which needs no label; in −1 … 1, higher = more alike."""
    embedding = features.select([EMBEDDING])
    d = embedding.values.shape[1]
    tower = Tower((Unit(0, d),), d, d)
    return PairEstimator(
        "cosine", embedding.names, embedding.dims, tower, tower, Head("dot", 1.0, 0.0), {}
    )


def fit_cosine(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = a · cos(e_i, e_j) + b, a and b by least squares, a ≥ 0."""
    raw = raw_cosine(features)
    slope, offset = least_squares(
        predict_pairs(raw, features, pairs.targets, pairs.sources), pairs.values
    )
    facts = {"labels": pairs.facts(), "seed": seed, "slope": slope}
    return replace(raw, head=Head("dot", slope, offset), facts=facts)


def least_squares(x: Gains, y: Gains) -> tuple[float, float]:
    """Slope ≥ 0 and intercept of y on x, both (n,).

    A negative slope would turn the order of every row round on the strength of one number; x is
    then taken to say nothing.
    """
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = max(float(centred @ y) / spread, 0.0) if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def fit_additive_ridge(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = α·x_i + β·x_j + c by ridge, its strength by error on pairs of left-out samples.

    (Error on left-out pairs, or generalised cross-validation, would take the many pairs of a sample
    for independent and hardly shrink at all.) It ranks all sources the same way for every target;
    facility location is blind on it.
    """
    scale = scaling(features, np.union1d(pairs.targets, pairs.sources))
    x = scale(features.values.astype(np.float64))
    target_side, target_basis = _compressed(x, pairs.targets)
    source_side, source_basis = _compressed(x, pairs.sources)
    design = np.hstack([target_side, source_side])
    splits = list(folds(pairs, targets=INNER_FOLDS, sources=INNER_FOLDS, seed=seed))
    left_out = splits[:: INNER_FOLDS + 1]  # each target and each source left out once
    errors = sum(_left_out_errors(design, pairs.values, fold) for fold in left_out)
    ridge = RIDGES[int(np.argmin(errors))]
    weights = _ridge(design, pairs.values, ridge)
    alpha = target_basis @ weights[: target_basis.shape[1]]
    beta = source_basis @ weights[target_basis.shape[1] :]
    level = x[pairs.targets].mean(0) @ alpha + x[pairs.sources].mean(0) @ beta
    d = features.values.shape[1]
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    # ⟨(α·x_i, 1), (1, β·x_j)⟩
    target = Affine(_columns(alpha, np.zeros(d)), np.concatenate([zero, one]))
    source = Affine(_columns(np.zeros(d), beta), np.concatenate([one, zero]))
    return PairEstimator(
        "additive-ridge",
        features.names,
        features.dims,
        Tower((scale, target), d, 2),
        Tower((scale, source), d, 2),
        Head("dot", 1.0, float(pairs.values.mean() - level)),
        {"labels": pairs.facts(), "seed": seed, "ridge": ridge},
    )


def row_and_column_effects(pairs: SeedPairs, targets: Ids, sources: Ids) -> Gains:
    """Mean + effect of the target + effect of the source, for the pairs asked; unseen ones are 0.

    Effects are shrunk as if each had one more label at the mean. Not an estimator: it knows
    nothing about a sample without labels.
    """
    mean = float(pairs.values.mean())
    size = int(max(pairs.targets.max(), pairs.sources.max(), targets.max(), sources.max())) + 1
    row, column = np.zeros(size), np.zeros(size)
    for _ in range(20):
        row = _shrunk_means(pairs.targets, pairs.values - mean - column[pairs.sources], size)
        column = _shrunk_means(pairs.sources, pairs.values - mean - row[pairs.targets], size)
    predicted: Gains = mean + row[targets] + column[sources]
    return predicted


def _shrunk_means(groups: Ids, values: Gains, size: int) -> Gains:
    total = np.bincount(groups, values, minlength=size)
    return total / (np.bincount(groups, minlength=size) + 1.0)


def _compressed(x: Gains, positions: Ids) -> tuple[Gains, Gains]:
    """Features of each pair's sample in a basis (d, rank) of the distinct samples' row space.

    Ridge gives the same function there, and there are fewer samples than columns.
    """
    distinct, back = np.unique(positions, return_inverse=True)
    u, s, vt = np.linalg.svd(x[distinct], full_matrices=False)
    return (u * s)[back], vt.T


def _left_out_errors(x: Gains, y: Gains, fold: Fold) -> Gains:
    """Squared error of each of RIDGES on pairs of which the fit saw neither sample, (n_ridges,)."""
    fitted, asked = fold.fit, fold.quadrants["Q4"]
    if not fitted.any() or not asked.any():
        return np.zeros(len(RIDGES))
    level, mean = y[fitted].mean(), x[fitted].mean(0)
    eigenvalues, vectors, along = _eigen(x[fitted], y[fitted])
    away = (x[asked] - mean) @ vectors
    rest = y[asked] - level
    return np.array([((rest - away @ (along / (eigenvalues + r))) ** 2).sum() for r in RIDGES])


def _ridge(x: Gains, y: Gains, ridge: float) -> Gains:
    """Weights (d,) of the centred problem."""
    eigenvalues, vectors, along = _eigen(x, y)
    weights: Gains = vectors @ (along / (eigenvalues + ridge))
    return weights


def _eigen(x: Gains, y: Gains) -> tuple[Gains, Gains, Gains]:
    x, y = x - x.mean(0), y - y.mean()
    eigenvalues, vectors = np.linalg.eigh(x.T @ x)
    return np.maximum(eigenvalues, 0.0), vectors, vectors.T @ (x.T @ y)


def _columns(first: Gains, second: Gains) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.stack([first, second], axis=1).astype(np.float32)
