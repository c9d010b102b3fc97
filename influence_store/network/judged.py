"""Which predictions are judged, and in which rows? A list of pairs with their labels.

A list, because a design with holes then needs no special case. Predictions of different fits are
never ranked against each other: a row is one target in one fold, a column one source in one fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Gains, Ids

MIN_PER_ROW = 3


@dataclass(frozen=True)
class Pairs:
    """Judged pairs, all (n_pairs,): label, mean of the labels fitted, target, source, fold."""

    truth: Gains
    baseline: Gains
    targets: Ids
    sources: Ids
    folds: Ids

    @property
    def rows(self) -> Ids:
        """Numbers 0, 1, … of the rows, (n_pairs,)."""
        return _numbered(self.targets, self.folds)

    @property
    def columns(self) -> Ids:
        """Numbers 0, 1, … of the columns, (n_pairs,)."""
        return _numbered(self.sources, self.folds)

    def ranked_rows(self) -> Iterator[Ids]:
        """Positions of the pairs, (n_rows, length), of rows with one number of labels at a time.

        Rows have at least 3 labels that are not all equal.
        """
        if not len(self.truth):
            return
        rows = self.rows
        order = np.argsort(rows, kind="stable")
        length = np.bincount(rows)
        start = np.cumsum(length) - length
        for one in np.unique(length[length >= MIN_PER_ROW]):
            at = order[start[length == one][:, None] + np.arange(one)]
            at = at[np.ptp(self.truth[at], axis=1) > 0]
            if len(at):
                yield at


def _numbered(samples: Ids, folds: Ids) -> Ids:
    keys = folds * (int(samples.max(initial=0)) + 1) + samples
    numbers: Ids = np.unique(keys, return_inverse=True)[1]
    return numbers
