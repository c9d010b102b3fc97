"""Does greedy selection by predictions find sets that are good by the labels?

Facility location with labels S, f(A) = Σ_i max_{j∈A} S[i, j], by the set that greedy picks on the
*predicted* matrix, on a scale where a random set of that size is 0 and the set picked on the
labels themselves is 1 (as for `select`, without a floor, so a target's own level is irrelevant):

    gain = Σ_i (max_{A_P} S_i − E max_{random} S_i) / Σ_i (max_{A_S} S_i − E max_{random} S_i)

The random set is not drawn: its expectation is exact. With r labels sorted in descending order,
the greatest of k drawn without replacement is the r-th with probability C(m − r, k − 1) / C(m, k).
A good rank correlation does not imply a good gain: a set needs sources that differ.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.network.judged import Pairs
    from influence_store.protocols import Gains, Ids

SHARES = (0.1, 0.3)
#: Blocks with fewer sources, or with more holes, cannot tell a good set from a lucky one.
MIN_SOURCES, MAX_MISSING = 4, 0.5


@dataclass(frozen=True)
class SetGain:
    """Selection gain at one share (0 random, 1 the labels' own set), and how many picks counted."""

    share: float
    gain: float
    picks: int
    useful: int


@dataclass(frozen=True)
class SelectionGain:
    """What the set that one predictor picks is worth, per row of the judged blocks.

    `own` (n_rows,) is what the picked set gives a row above a random set, `best` what the set
    picked on the labels gives it; gain = Σ own / Σ best. `targets` (n_rows,) says whose rows they
    are. `useful` of `picks` picks added something to the predicted objective: on an additive
    matrix only the first of each set does.
    """

    share: float
    targets: Ids
    own: Gains
    best: Gains
    picks: int
    useful: int

    @property
    def gain(self) -> float:
        """0 = a random set, 1 = the set that the labels themselves pick; below 0 is worse."""
        scale = float(self.best.sum())
        return float(self.own.sum()) / scale if scale > 0 else 0.0

    def per_target(self) -> Gains:
        """Contributions whose mean is `gain`, (n_targets,), in the order of targets."""
        _, number = np.unique(self.targets, return_inverse=True)
        total: Gains = np.bincount(number, self.own).astype(np.float64)
        scale = float(self.best.sum()) / len(total)
        return total / scale if scale > 0 else np.zeros_like(total)


def selection_gain(pairs: Pairs, predicted: Gains, share: float) -> SelectionGain | None:
    """Pick `share` of the sources of each judged block by `predicted` (n_pairs,).

    A block is made of pairs that no fit has seen: all targets judged on one group of sources.
    Predictions of different fits meet in a block only as different rows, whose levels do not
    matter. None if no block has 4 sources and half of its labels.
    """
    parts = []
    for rows, truth, guess in _blocks(pairs, predicted):
        size = max(1, round(share * truth.shape[1]))
        picked, useful = _greedy(guess, size)
        ideal, _ = _greedy(truth, size)
        chance = expected_maximum(truth, size)
        own = truth[:, picked].max(axis=1) - chance
        best = truth[:, ideal].max(axis=1) - chance
        parts.append((rows, own, best, size, useful))
    if not parts:
        return None
    rows, own, best = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return SelectionGain(
        share, rows, own, best, sum(part[3] for part in parts), sum(part[4] for part in parts)
    )


def set_gains(pairs: Pairs, predicted: Gains) -> tuple[SetGain, ...]:
    """The gain at each of SHARES that can be judged."""
    found = (selection_gain(pairs, predicted, share) for share in SHARES)
    return tuple(SetGain(one.share, one.gain, one.picks, one.useful) for one in found if one)


def expected_maximum(values: Gains, size: int) -> Gains:
    """The mean of each row's greatest among `size` columns drawn at random, (r, m) → (r,)."""
    m = values.shape[1]
    ordered = -np.sort(-values, axis=1)
    # C(m − r, k − 1) / C(m, k) for r = 1, 2, … by its ratio from one r to the next.
    chance = np.zeros(m)
    chance[0] = size / m
    for r in range(1, m - size + 1):
        chance[r] = chance[r - 1] * (m - size - r + 1) / (m - r)
    expected: Gains = ordered @ chance
    return expected


def _blocks(pairs: Pairs, predicted: Gains) -> Iterator[tuple[Ids, Gains, Gains]]:
    """Targets (r,), labels and predictions (r, m) of each group of sources judged together.

    A cell without a label counts as the least of its row, in both: it recommends nobody.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for fold in np.unique(pairs.folds):
        groups[tuple(np.unique(pairs.sources[pairs.folds == fold]).tolist())].append(int(fold))
    for sources, folds in groups.items():
        inside = np.isin(pairs.folds, folds)
        keys = pairs.folds[inside] * (int(pairs.targets.max()) + 1) + pairs.targets[inside]
        names, row = np.unique(keys, return_inverse=True)
        column = np.searchsorted(sources, pairs.sources[inside])
        shape = len(names), len(sources)
        if shape[1] < MIN_SOURCES or len(row) < (1 - MAX_MISSING) * shape[0] * shape[1]:
            continue
        targets = names % (int(pairs.targets.max()) + 1)
        filled = (
            _filled(shape, row, column, values[inside]) for values in (pairs.truth, predicted)
        )
        yield targets, *filled


def _filled(shape: tuple[int, int], row: Ids, column: Ids, values: Gains) -> Gains:
    matrix = np.full(shape, np.inf)
    matrix[row, column] = values
    lowest = matrix.min(axis=1, keepdims=True)
    return np.where(np.isinf(matrix), lowest, matrix)


def _greedy(matrix: Gains, size: int) -> tuple[Ids, int]:
    """`size` columns by greedy facility location on a small dense matrix, ties to the lowest.

    Also how many of them added to the objective at all.
    """
    covered = matrix.min(axis=1)
    picked: list[int] = []
    useful = 0
    for _ in range(size):
        gains = np.maximum(matrix - covered[:, None], 0.0).sum(axis=0)
        gains[picked] = -1.0
        best = int(np.argmax(gains))
        useful += bool(gains[best] > 1e-12 * max(1.0, float(np.abs(matrix).max())))
        picked.append(best)
        covered = np.maximum(covered, matrix[:, best])
    return np.array(picked, np.int64), useful
