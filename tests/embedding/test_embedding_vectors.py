"""What every vector must be, and how tokens are pooled into one."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.embedding.pooling import pool
from influence_store.embedding.vectors import unit_rows
from influence_store.errors import InputError

HIDDEN = np.array([[[1.0, 2.0], [3.0, -4.0], [99.0, 99.0]], [[5.0, 0.0], [7.0, 1.0], [0.0, 5.0]]])
MASK = np.array([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", [[1, 2], [5, 0]]),
        ("mean", [[2, -1], [4, 2]]),
        ("max", [[3, 2], [7, 5]]),
        ("lasttoken", [[3, -4], [0, 5]]),
    ],
)
def test_pooling_never_sees_padding(pooling, expected):
    np.testing.assert_allclose(pool(HIDDEN, MASK, pooling), expected)


def test_rows_become_unit_length_float32():
    units = unit_rows(np.array([[3.0, 4.0], [0.0, -2.0]]), "e")
    assert units.dtype == np.float32
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, -1]], atol=1e-7)


@pytest.mark.parametrize(
    ("bad", "word"),
    [([np.nan, 1], "not finite"), ([np.inf, 1], "not finite"), ([0, 0], "all zero")],
)
def test_unusable_vector_is_refused_by_position(bad, word):
    with pytest.raises(InputError, match=f"text 11 is {word} .embedder minilm"):
        unit_rows(np.array([[1.0, 0.0], bad]), "minilm", first=10)
