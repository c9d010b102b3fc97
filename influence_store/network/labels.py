"""Which labelled pairs may teach an estimator, and which are kept back to judge it?

Labels are a sparse list: position of the target, position of the source, value. Positions point
into one feature matrix of all samples concerned, so a sample that is both is one row there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import InputError
from influence_store.protocols import Floats, Gains, Ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

NEAR_DUPLICATE = 0.98
QUADRANTS = ("Q1", "Q2", "Q3", "Q4")


@dataclass(frozen=True)
class SeedPairs:
    """Usable labels: S[targets[k], sources[k]] = values[k], all (n_pairs,), no pair twice.

    `dropped` counts what `usable` left out, by reason.
    """

    targets: Ids
    sources: Ids
    values: Gains
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, which: npt.NDArray[np.bool_]) -> SeedPairs:
        """The pairs where `which` (n_pairs,) is true."""
        return SeedPairs(self.targets[which], self.sources[which], self.values[which])

    def facts(self) -> dict[str, float]:
        """Label statistics as they are stored with an estimator."""
        return {
            "pairs": len(self),
            "targets": len(np.unique(self.targets)),
            "sources": len(np.unique(self.sources)),
            "mean": float(self.values.mean()),
            "std": float(self.values.std()),
            "min": float(self.values.min()),
            "max": float(self.values.max()),
            **{f"dropped: {reason}": count for reason, count in self.dropped.items()},
        }


def usable(targets: Ids, sources: Ids, values: Floats | Gains, embedding: Floats) -> SeedPairs:
    """Drop what is no lesson: unlabelled (NaN) pairs, a sample with itself, near-duplicates.

    Near-duplicates are pairs whose `embedding` rows (n_samples, dim) have cosine > 0.98: there
    the example nearly is the answer. InputError if a pair is labelled twice.
    """
    targets, sources = np.asarray(targets, np.int64), np.asarray(sources, np.int64)
    values = np.asarray(values, np.float64)
    unit = np.asarray(embedding, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosine = np.einsum("kd,kd->k", unit[targets], unit[sources])

    unlabelled = ~np.isfinite(values)
    itself = ~unlabelled & (targets == sources)
    near = ~unlabelled & ~itself & (cosine > NEAR_DUPLICATE)
    keep = ~(unlabelled | itself | near)
    reasons = {"unlabelled": unlabelled, "self pair": itself, "near-duplicate": near}

    both = targets[keep] * len(unit) + sources[keep]
    twice = len(both) - len(np.unique(both))
    if twice:
        raise InputError(
            f"{twice} of {len(both)} pairs are labelled more than once",
            hint="pass the labels of one method run only: influence-store log",
        )
    dropped = {reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()}
    return SeedPairs(targets[keep], sources[keep], values[keep], dropped)


@dataclass(frozen=True)
class Fold:
    """One way to keep samples back: `fit` and each quadrant are masks over the pairs.

    Q1: target and source seen, the pair not. Q2: source unseen. Q3: target unseen. Q4: both
    unseen.
    """

    fit: npt.NDArray[np.bool_]
    quadrants: Mapping[str, npt.NDArray[np.bool_]]


def folds(
    pairs: SeedPairs,
    *,
    targets: int = 4,
    sources: int = 2,
    repeats: int = 1,
    seed: int,
    validation: float = 0.1,
) -> Iterator[Fold]:
    """Keep back one group of targets and one of sources, for each combination of the groups.

    Every pair is thus judged once per repeat with both its samples unseen (Owen and Perry 2009
    call this bi-cross-validation): with few labels, a single split leaves too little to judge by.
    Sources are dealt into two groups only, because a rank or a set among a handful of sources says
    little about one among thousands. Groups are dealt at random by sample, never by order, anew
    for each repeat. A pair is not fitted if its mirror image (j, i) is judged. A tenth of the
    pairs of seen samples is kept back as Q1; Q1 to Q3 are judged once per group of targets.
    """
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        row_group = _deal(pairs.targets, targets, rng)
        column_group = _deal(pairs.sources, sources, rng)
        spared = rng.random(len(pairs)) < validation
        mirror_row, mirror_column = _mirror_groups(pairs, row_group, column_group)
        nothing = np.zeros(len(pairs), bool)
        for row, column in product(range(targets), range(sources)):
            no_target, no_source = row_group == row, column_group == column
            seen = ~no_target & ~no_source
            judged = seen & spared, ~no_target & no_source, no_target & ~no_source
            if column != row % sources:
                judged = nothing, nothing, nothing
            masks = (*judged, no_target & no_source)
            mirrored = (mirror_row == row) & (mirror_column == column)
            fit = seen & ~spared & ~mirrored
            yield Fold(fit, dict(zip(QUADRANTS, masks, strict=True)))


def _deal(positions: Ids, count: int, rng: np.random.Generator) -> Ids:
    """A group 0..count-1 for each pair, the same for equal positions, groups of even size."""
    distinct, back = np.unique(positions, return_inverse=True)
    groups: Ids = (rng.permutation(len(distinct)) % count)[back]
    return groups


def _mirror_groups(pairs: SeedPairs, row_group: Ids, column_group: Ids) -> tuple[Ids, Ids]:
    """Row and column group of the pair (j, i) for each pair (i, j); −1 where it has no label."""
    size = int(max(pairs.targets.max(), pairs.sources.max())) + 1
    row_of, column_of = np.full(size, -1), np.full(size, -1)
    row_of[pairs.targets], column_of[pairs.sources] = row_group, column_group
    return row_of[pairs.sources], column_of[pairs.targets]
