"""How do estimators whose heads are products become one? Their vectors lie side by side.

⟨(√a p, √b r), (√a q, √b s)⟩ = a ⟨p, q⟩ + b ⟨r, s⟩: a weighted sum is again a product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.schema.estimator import Beside, Columns, Head, PairEstimator, Scale, Tower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.network.features import Features
    from influence_store.schema.estimator import Layer


def side_by_side(
    network: str,
    parts: Sequence[tuple[PairEstimator, float]],
    features: Features,
    *,
    offset: float = 0.0,
    facts: Mapping[str, Any],
) -> PairEstimator:
    """S = Σ weight · S_part + `offset` over (estimator, weight ≥ 0), all with `dot` heads.

    The sum reads all blocks of `features`; each part keeps reading its own.
    """
    d = features.values.shape[1]
    width = sum(one.target_tower.d_out for one, _ in parts)
    target = tuple(_part(one, one.target_tower, weight, features) for one, weight in parts)
    source = tuple(_part(one, one.source_tower, weight, features) for one, weight in parts)
    return PairEstimator(
        network=network,
        features=features.names,
        dims=features.dims,
        target_tower=Tower((Beside(target),), d, width),
        source_tower=Tower((Beside(source),), d, width),
        head=Head("dot", 1.0, offset + sum(weight * one.head.offset for one, weight in parts)),
        facts=facts,
    )


def _part(one: PairEstimator, tower: Tower, weight: float, features: Features) -> tuple[Layer, ...]:
    """A tower on its blocks of all features, with √(weight · scale) in its vectors."""
    start, stop = features.span(one.features)
    root = np.full(tower.d_out, np.sqrt(weight * one.head.scale), np.float32)
    return (Columns(start, stop), *tower.layers, Scale(root, np.zeros_like(root)))
