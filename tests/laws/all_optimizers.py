"""The optimizers that the laws are about, when two answers are the same, and vectors to try."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.optimizers import (
    LazierThanLazyGreedy,
    LazyGreedy,
    NaiveGreedy,
    PartitionedGreedy,
    StochasticGreedy,
)

exact = pytest.mark.parametrize("optimizer", [NaiveGreedy(), LazyGreedy()], ids=["naive", "lazy"])
ALL = {
    "naive": NaiveGreedy(),
    "lazy": LazyGreedy(),
    "lazy per cost": LazyGreedy(per_cost=True),
    "stochastic": StochasticGreedy(seed=0),
    "lazier than lazy": LazierThanLazyGreedy(seed=0),
    "partitioned": PartitionedGreedy(seed=0, parts=3),
}
every_optimizer = pytest.mark.parametrize("optimizer", ALL.values(), ids=ALL)


def same(one, other):
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.gains, other.gains)


def clustered(n, d=16, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(6, d))[rng.integers(6, size=n)] + 0.6 * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
