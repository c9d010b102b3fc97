"""How wrong is a ridge over pairs about samples left out? The labels as a matrix, by parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.product_system import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from influence_store.network.labels import SeedPairs
    from influence_store.protocols import Gains, Ids

    Side = npt.NDArray[np.bool_]

MAX_TARGETS, MAX_SOURCES = 200, 80
TOLERANCE, ITERATIONS = 3e-2, 40


@dataclass(frozen=True)
class LabelBlock:
    """Labels as a matrix over distinct targets × sources; `labelled` says which cells are real."""

    targets: Ids
    sources: Ids
    labelled: npt.NDArray[np.bool_]
    values: Gains


def label_block(pairs: SeedPairs, values: Gains) -> LabelBlock:
    """The block of `pairs` filled with `values` (n_pairs,), 0 where there is no label."""
    targets, row = np.unique(pairs.targets, return_inverse=True)
    sources, column = np.unique(pairs.sources, return_inverse=True)
    labelled = np.zeros((len(targets), len(sources)), bool)
    matrix = np.zeros(labelled.shape)
    labelled[row, column] = True
    matrix[row, column] = values
    return LabelBlock(targets, sources, labelled, matrix)


def inner_folds(
    block: LabelBlock, count: int, rng: np.random.Generator
) -> Sequence[tuple[tuple[Ids, Ids], tuple[Ids, Ids]]]:
    """Rows and columns to fit, rows and columns to judge, `count` times, dealt at random.

    Of a big block only 200 rows and 80 columns take part: enough to choose a few numbers by.
    """
    rows = rng.permutation(len(block.targets))[:MAX_TARGETS]
    columns = rng.permutation(len(block.sources))[:MAX_SOURCES]
    return [
        (
            (np.delete(rows, np.s_[k::count]), np.delete(columns, np.s_[k::count])),
            (rows[k::count], columns[k::count]),
        )
        for k in range(count)
    ]


def left_out_error(
    block: LabelBlock,
    k_t: Gains,
    k_s: Gains,
    ridges: tuple[float, float],
    folds: Sequence[tuple[tuple[Ids, Ids], tuple[Ids, Ids]]],
) -> float:
    """Mean squared error on pairs of which both samples were left out of the fit.

    Kernels are (n_targets, n_targets) and (n_sources, n_sources), ridges those of targets and
    sources. The variance of the labels where the folds leave no such pair.
    """
    total, count = 0.0, 0
    for (rows, columns), (new_rows, new_columns) in folds:
        labelled = block.labelled[np.ix_(rows, columns)]
        asked = block.labelled[np.ix_(new_rows, new_columns)]
        if not labelled.any() or not asked.any():
            continue
        values = block.values[np.ix_(rows, columns)]
        mean = values[labelled].mean()
        weights = solve(
            k_t[np.ix_(rows, rows)],
            k_s[np.ix_(columns, columns)],
            labelled,
            values - mean,
            *ridges,
            tolerance=TOLERANCE,
            max_iterations=ITERATIONS,
        ).weights
        predicted = k_t[np.ix_(new_rows, rows)] @ weights @ k_s[np.ix_(columns, new_columns)] + mean
        truth = block.values[np.ix_(new_rows, new_columns)]
        total += float(((predicted - truth)[asked] ** 2).sum())
        count += int(asked.sum())
    return total / count if count else float(block.values[block.labelled].var())
