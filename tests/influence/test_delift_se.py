from __future__ import annotations

import numpy as np

from influence_store.influence.delift_se import DeliftSe


def test_cosines_of_the_worked_example():
    # methods.md §3.6
    unit = DeliftSe("any").vectors(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    np.testing.assert_allclose(unit @ unit.T, [[1, 0, 0.6], [0, 1, 0.8], [0.6, 0.8, 1]], atol=1e-7)


def test_length_of_an_embedding_does_not_count():
    method = DeliftSe("any")
    rows = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    scaled = rows * np.array([[1e-20], [3.0], [7.0], [1e20], [0.5]], np.float32)
    np.testing.assert_allclose(method.vectors(scaled), method.vectors(rows), atol=1e-6)


def test_zero_vector_has_no_cosine():
    unit = DeliftSe("any").vectors(np.array([[0, 0], [3, 4]], np.float32))
    np.testing.assert_allclose(unit, [[np.nan, np.nan], [0.6, 0.8]], atol=1e-7)


def test_facts_follow_the_embedder():
    assert DeliftSe("a").facts != DeliftSe("b").facts
