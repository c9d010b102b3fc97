"""Products of 16-bit numbers are exact whatever computes them, and as close as is said."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numba.core.codegen import get_host_cpu_features

from influence_store.selection.engine.whole_numbers import (
    ROWS,
    WholeVectors,
    panels_of,
    rounded_products,
    shape_for,
)

#: The innermost block with the instructions of another processor, in a process of its own.
_ELSEWHERE = """
import sys
import numpy as np
from influence_store.selection.engine import whole_numbers as them
assert them.block_shape() == them.shape_for(sys.argv[1])
words = np.frombuffer(bytes.fromhex(sys.stdin.read()), np.int16).reshape(50, 38)
found = np.empty((50, 20), np.uint16)
them.rounded_products(them.panels_of(words), them.panels_of(words[:20]), found)
print(found.tobytes().hex())
"""


def expected(rows, columns):
    return ((rows.astype(np.int64) @ columns.T.astype(np.int64) + 2**14) >> 15) + 2**15


def vectors_of(n, d, seed=0, scale=1.0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (scale * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 2), (7, 3, 384), (48, 48, 31), (100, 201, 64)])
def test_products_are_those_of_the_whole_numbers(n, m, d):
    rows, columns = (WholeVectors.of(vectors_of(k, d, seed=k)).words for k in (n, m))
    found = np.full((n, m), 7, np.uint16)
    rounded_products(panels_of(rows), panels_of(columns), found)
    np.testing.assert_array_equal(found, expected(rows, columns))


def test_the_largest_numbers_do_not_overflow():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, -0.8]], np.float32)
    whole = WholeVectors.of(vectors)
    found = np.empty((3, 3), np.uint16)
    rounded_products(panels_of(whole.words), panels_of(whole.words), found)
    np.testing.assert_array_equal(found, expected(whole.words, whole.words))
    np.testing.assert_allclose(
        (found.astype(float) - 2**15) * whole.unit,
        vectors.astype(float) @ vectors.T,
        atol=whole.error + whole.unit,
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
@pytest.mark.parametrize("d", [5, 384])
def test_the_error_is_no_larger_than_is_said(d, scale):
    vectors = vectors_of(300, d, scale=scale)
    vectors[::7] *= 0.01
    whole = WholeVectors.of(vectors)
    words = whole.words.astype(np.float64)
    off = np.abs(words @ words.T * whole.unit / 2**15 - vectors.astype(float) @ vectors.T)
    assert off.max() <= whole.error
    assert whole.error <= 4e-4 * scale**2 * (d / 384) ** 0.5 + 1e-4 * scale**2


def test_no_vector_at_all_and_vectors_of_nothing():
    assert WholeVectors.of(np.zeros((0, 4), np.float32)).words.shape == (0, 4)
    nothing = WholeVectors.of(np.zeros((3, 4), np.float32))
    assert not nothing.words.any()
    assert nothing.error == 0


@pytest.mark.parametrize("features", ["+avx2", "-avx2"])
def test_another_processor_gives_the_same_numbers(features, tmp_path):
    if features == "+avx2" and "+avx2" not in get_host_cpu_features():
        pytest.skip("this processor has no AVX2")
    words = WholeVectors.of(vectors_of(50, 38)).words
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, features],
        input=words.tobytes().hex(),
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(tmp_path),
            "NUMBA_CPU_NAME": "generic",
            "NUMBA_CPU_FEATURES": features,
        },
    )
    found = np.frombuffer(bytes.fromhex(done.stdout), np.uint16).reshape(50, 20)
    np.testing.assert_array_equal(found, expected(words, words[:20]))


@pytest.mark.parametrize(
    ("features", "lanes"),
    [
        ("+avx512vnni,+avx512bw,+avx2", 16),
        ("-avx512vnni,+avx512bw,+avx2", 8),
        ("+neon", 4),
        ("", 4),
    ],
)
def test_the_block_is_chosen_by_the_processor_and_fits_a_tile(features, lanes):
    high, wide, found = shape_for(features)
    assert found == lanes
    assert ROWS % high == 0
    assert ROWS % (wide * lanes) == 0
