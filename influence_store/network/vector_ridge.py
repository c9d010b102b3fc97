"""Students of bilinear teachers: regress the vectors, not the pairs.

The teacher gives S = G_t G_sᵀ with one vector per sample and side. The labelled vectors are first
cut to the r directions that carry most of their products,

    G_t G_sᵀ = U Σ Vᵀ,      P = U Σ^½,  Q = V Σ^½      (symmetric: G Gᵀ = U Σ Uᵀ, P = Q = U Σ^½)

so that ⟨p_i, q_j⟩ is the best approximation of S at rank r (Eckart and Young 1936). Each column of
P and Q is then learned from features by kernel ridge with a strength of its own: directions that
features do not know shrink to their mean. n vectors thus teach as n regressions of n labels, where
pairs would be n² labels that know nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import InputError
from influence_store.network.features import Features
from influence_store.network.ridge import kernel_ridge
from influence_store.schema.estimator import Head, PairEstimator, Tower

if TYPE_CHECKING:
    from influence_store.network.labels import SeedPairs
    from influence_store.network.ridge import Smoother
    from influence_store.protocols import Floats, Gains, Ids

MAX_RANK = 64
#: Directions below this share of the greatest singular value are dropped.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class TeacherVectors:
    """What the teacher said: `targets` and `sources` (n_samples, dim), rows NaN where unknown.

    `symmetric` says that both sides are the same vectors. `extra` are positions that no pair to be
    judged contains: their vectors teach always.
    """

    targets: Floats
    sources: Floats
    symmetric: bool
    extra: Ids


def fit_vectors(
    pairs: SeedPairs, features: Features, *, seed: int, vectors: TeacherVectors
) -> PairEstimator:
    """An estimator of pairs from the vectors of the samples in `pairs` (and the extra ones).

    Of `pairs` only the positions are read: vectors of other samples are never looked at, so pairs
    that are kept back stay kept back. InputError if a side has fewer than 3 measured vectors.
    """
    at_target = _known(np.union1d(pairs.targets, vectors.extra), vectors.targets, "target")
    at_source = _known(np.union1d(pairs.sources, vectors.extra), vectors.sources, "source")
    if vectors.symmetric:
        at_target = at_source = np.union1d(at_target, at_source)
        p, captured = _eigen(vectors.sources[at_source].astype(np.float64))
        q, target = p, _smoother(p, features, at_target, seed)
        source = target
    else:
        p, q, captured = _singular(
            vectors.targets[at_target].astype(np.float64),
            vectors.sources[at_source].astype(np.float64),
        )
        target = _smoother(p, features, at_target, seed)
        source = _smoother(q, features, at_source, seed)
    d, rank = features.values.shape[1], p.shape[1]
    return PairEstimator(
        network="vector-ridge",
        features=features.names,
        dims=features.dims,
        target_tower=Tower(target.layers, d, rank),
        source_tower=Tower(source.layers, d, rank),
        head=Head("dot"),
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            "target_vectors": len(at_target),
            "source_vectors": len(at_source),
            "rank": rank,
            "share_of_products": captured,
            "left_out_r2": {
                "targets": _left_out_r2(p, target),
                "sources": _left_out_r2(q, source),
            },
        },
    )


def _known(positions: Ids, vectors: Floats, side: str) -> Ids:
    known: Ids = positions[np.isfinite(vectors[positions]).all(axis=1)]
    if len(known) < 3:
        raise InputError(
            f"{len(known)} samples have a {side} vector, expected at least 3",
            hint="label more rows: influence-store label … --rows 200",
        )
    return known


def _singular(targets: Gains, sources: Gains) -> tuple[Gains, Gains, float]:
    """P, Q and the share of Σ S² that their products keep.

    G = R_G O with orthonormal O where there are more samples than numbers: then U Σ Vᵀ is found
    between the small factors.
    """
    (o_t, r_t), (o_s, r_s) = np.linalg.qr(targets), np.linalg.qr(sources)
    u, sigma, vt = np.linalg.svd(r_t @ r_s.T, full_matrices=False)
    rank = _rank(sigma)
    root = np.sqrt(sigma[:rank])
    captured = float((sigma[:rank] ** 2).sum() / max((sigma**2).sum(), 1e-300))
    return o_t @ (u[:, :rank] * root), o_s @ (vt[:rank].T * root), captured


def _eigen(vectors: Gains) -> tuple[Gains, float]:
    """P = Q of one set of vectors, and the share of Σ S² that their products keep."""
    u, s, _ = np.linalg.svd(vectors, full_matrices=False)
    rank = _rank(s**2)
    captured = float((s[:rank] ** 4).sum() / max((s**4).sum(), 1e-300))
    return u[:, :rank] * s[:rank], captured


def _rank(sigma: Gains) -> int:
    return max(1, min(int((sigma > TOLERANCE * sigma[0]).sum()), MAX_RANK))


def _smoother(y: Gains, features: Features, at: Ids, seed: int) -> Smoother:
    read = Features(features.values[at], features.names, features.dims)
    return kernel_ridge(y, read, seed=seed)


def _left_out_r2(y: Gains, smoother: Smoother) -> float:
    """Share of the vectors' variance that features explain for samples left out."""
    return 1.0 - float(smoother.left_out.sum()) / max(float(y.var(axis=0).sum()), 1e-300)
