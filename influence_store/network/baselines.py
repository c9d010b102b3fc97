"""What must an estimator beat? The mean, cosine, and a sum of one score per side.

Each is an estimator of the common form, so a baseline that wins can be exported and used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.features import EMBEDDING, scaling
from influence_store.protocols import Gains, Ids
from influence_store.schema.estimator import Affine, Head, PairEstimator, Tower, Unit

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs

RIDGES = tuple(float(10.0**k) for k in range(-2, 4))


def fit_mean(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = mean of the labels: the estimate whose R² is 0."""
    d = features.values.shape[1]
    tower = Tower((Affine(np.zeros((d, 1), np.float32), np.zeros(1, np.float32)),), d, 1)
    head = Head("dot", 1.0, float(pairs.values.mean()))
    facts = {"labels": pairs.facts(), "seed": seed}
    return PairEstimator("mean", features.names, features.dims, tower, tower, head, facts)


def fit_cosine(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = a · cos(e_i, e_j) + b, a and b by least squares, a ≥ 0.

    A negative slope would turn the order of every row round on the strength of one number; cosine
    is then taken to say nothing.
    """
    embedding = features.select([EMBEDDING])
    d = embedding.values.shape[1]
    tower = Tower((Unit(0, d),), d, d)
    vectors = tower(embedding.values)
    cosine = np.einsum("kd,kd->k", vectors[pairs.targets], vectors[pairs.sources])
    centred = cosine - cosine.mean()
    spread = float(centred @ centred)
    slope = max(float(centred @ pairs.values) / spread, 0.0) if spread > 0 else 0.0
    head = Head("dot", slope, float(pairs.values.mean() - slope * cosine.mean()))
    facts = {"labels": pairs.facts(), "seed": seed, "slope": slope}
    return PairEstimator("cosine", embedding.names, embedding.dims, tower, tower, head, facts)


def fit_additive_ridge(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """S[i, j] = α·x_i + β·x_j + c by ridge, its strength by generalised cross-validation.

    It ranks all sources the same way for every target; facility location is blind on it.
    """
    scale = scaling(features, np.union1d(pairs.targets, pairs.sources))
    x = scale(features.values.astype(np.float64))
    target_side, target_basis = _compressed(x, pairs.targets)
    source_side, source_basis = _compressed(x, pairs.sources)
    weights, ridge = _ridge(np.hstack([target_side, source_side]), pairs.values)
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


def _ridge(x: Gains, y: Gains) -> tuple[Gains, float]:
    """Weights (d,) and the strength of RIDGES with the least generalised cross-validation error."""
    x, y = x - x.mean(0), y - y.mean()
    eigenvalues, vectors = np.linalg.eigh(x.T @ x)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    along = vectors.T @ (x.T @ y)
    errors = []
    for ridge in RIDGES:
        weights = vectors @ (along / (eigenvalues + ridge))
        freedom = float((eigenvalues / (eigenvalues + ridge)).sum())
        misfit = float(((y - x @ weights) ** 2).sum())
        errors.append(misfit / max(len(y) - 1.0 - freedom, 1e-9) ** 2)
    best = RIDGES[int(np.argmin(errors))]
    return vectors @ (along / (eigenvalues + best)), best


def _columns(first: Gains, second: Gains) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.stack([first, second], axis=1).astype(np.float32)
