"""What does an estimator say about a list of pairs?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.protocols import Gains, Ids
    from influence_store.schema.estimator import PairEstimator


def predict_pairs(
    estimator: PairEstimator, features: Features, targets: Ids, sources: Ids
) -> Gains:
    """Values of the listed pairs, (n_pairs,), without the matrix between them."""
    if not len(targets):
        return np.zeros(0)
    read = features.select(estimator.features).values
    rows, row = np.unique(targets, return_inverse=True)
    columns, column = np.unique(sources, return_inverse=True)
    matrix = estimator.predict(read[rows], read[columns])
    values: Gains = matrix[row, column]
    return values
