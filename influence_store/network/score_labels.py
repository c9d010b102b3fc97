"""Which values of a pointwise teacher may teach a student, and which are kept back to judge it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.labels import NEAR_DUPLICATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.protocols import Floats, Gains, Ids


@dataclass(frozen=True)
class SeedScores:
    """Usable labels: the sample at position `samples[k]` has values[k], both (n,).

    `dropped` counts what `usable_scores` left out, by reason.
    """

    samples: Ids
    values: Gains
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def facts(self) -> dict[str, float]:
        """Label statistics as they are stored with an estimator."""
        return {
            **label_facts(self.values),
            **{f"dropped: {reason}": count for reason, count in self.dropped.items()},
        }


def label_facts(values: Gains) -> dict[str, float]:
    """Number, mean, spread and extremes of labels (n,)."""
    return {
        "samples": len(values),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def usable_scores(
    values: Gains, readable: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> SeedScores:
    """Drop samples whose value is not finite, or whose features are not `readable` (n,)."""
    values = np.asarray(values, np.float64)
    unlabelled = ~np.isfinite(values)
    unread = ~unlabelled & ~readable
    keep = np.flatnonzero(~unlabelled & ~unread)
    reasons = {"unlabelled": unlabelled, "no features": unread}
    dropped = {reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()}
    return SeedScores(keep, values[keep], dropped)


@dataclass(frozen=True)
class ScoreFold:
    """Positions in the labels: `fit` teaches, `judged` is kept back."""

    fit: Ids
    judged: Ids


def score_folds(embedding: Floats, *, count: int, seed: int) -> Iterator[ScoreFold]:
    """Each of n samples is judged once; its near-duplicates (cosine > 0.98) do not teach then.

    `embedding` is (n, dim), one row per label. Samples are dealt at random, in groups of even size,
    and stand in `judged` in random order.
    """
    order = np.random.default_rng(seed).permutation(len(embedding))
    unit = np.asarray(embedding, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    for k in range(count):
        judged = order[k::count]
        rest = np.setdiff1d(order, judged)
        near = _any_near(unit[rest], unit[judged])
        yield ScoreFold(rest[~near], judged)


def _any_near(rest: Gains, judged: Gains) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(len(rest),): has a near-duplicate among `judged`. In tiles of 1024 rows."""
    parts = [
        (rest[k : k + 1024] @ judged.T > NEAR_DUPLICATE).any(axis=1)
        for k in range(0, len(rest), 1024)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.bool_)
