from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.linalg import hadamard

from influence_store.influence.projection import Projection, walsh_hadamard


def _cosines(a, b):
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / lengths


def _pairs(kind, n_pairs, n, rng):
    """Correlated pairs: dense, of few heavy coordinates, or with a LoRA gradient's low rank."""
    shape = (n_pairs, 2, n)
    if kind == "sparse":
        rows = rng.normal(size=shape) * (rng.random(shape) < 3 / n)
        rows[:, :, 0] += 1e-3
    elif kind == "rank-one":
        side = int(n**0.5)
        left, right = rng.normal(size=(2, n_pairs, 2, side))
        rows = np.einsum("pqi,pqj->pqij", left, right).reshape(shape)
    else:
        rows = rng.normal(size=shape)
    rows[:, 1] += rng.uniform(-1, 1, size=(n_pairs, 1)) * rows[:, 0]
    return rows.astype(np.float32)


def test_8192_dimensions_keep_99_percent_of_cosines_within_5_percent():
    # methods.md §4.6
    rng = np.random.default_rng(0)
    project = Projection(40_000, 8192, block=16_384)
    pairs = _pairs("dense", 120, 40_000, rng)
    ours = np.array([[project(a), project(b)] for a, b in pairs])
    error = _cosines(ours[:, 0], ours[:, 1]) - _cosines(pairs[:, 0], pairs[:, 1])
    assert np.quantile(np.abs(error), 0.99) < 0.05


@pytest.mark.parametrize("kind", ["dense", "sparse", "rank-one"])
def test_errors_are_those_of_an_independent_rademacher_matrix(kind):
    rng = np.random.default_rng(1)
    n, dim = 1600, 64
    ours, theirs = [], []
    for seed in range(40):
        a, b = _pairs(kind, 25, n, rng).transpose(1, 0, 2)
        exact = _cosines(a, b)
        project = Projection(n, dim, seed=seed, block=1024)
        dense = rng.choice(np.float32([-1, 1]), size=(n, dim)) / np.sqrt(dim)
        fast = np.stack([project(one) for one in a]), np.stack([project(one) for one in b])
        ours += [_cosines(*fast) - exact]
        theirs += [_cosines(a @ dense, b @ dense) - exact]
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    assert np.std(ours) < 1.15 * np.std(theirs)
    assert abs(np.mean(ours)) < 3 * np.std(theirs) / np.sqrt(len(theirs))
    assert np.quantile(np.abs(ours), 0.99) < 1.3 * np.quantile(np.abs(theirs), 0.99)


def test_every_entry_is_plus_or_minus_one_over_root_dim_and_half_are_plus():
    project = Projection(300, 100, block=128)
    columns = np.stack([project(row) for row in np.eye(300, dtype=np.float32)])
    np.testing.assert_allclose(np.abs(columns), 0.1, atol=1e-7)
    assert 0.47 < np.mean(columns > 0) < 0.53


def test_no_two_coordinates_share_a_column_not_even_across_blocks():
    project = Projection(1024, 128, block=256)
    columns = np.stack([project(row) for row in np.eye(1024, dtype=np.float32)])
    off = np.abs(columns @ columns.T - np.eye(1024))
    # Independent ±1 of 128 rows: one pair in 10^9 has a cosine above 0.54.
    assert off.max() < 0.6


def test_transform_is_the_hadamard_matrix():
    for n in (1, 2, 16, 64, 2048):
        x = np.random.default_rng(n).normal(size=n).astype(np.float32)
        np.testing.assert_allclose(walsh_hadamard(x), hadamard(n) @ x, atol=1e-3)


def test_projection_is_linear_and_its_seed_decides_it():
    a, b = np.random.default_rng(2).normal(size=(2, 5000)).astype(np.float32)
    project = Projection(5000, 256, seed=3, block=2048)
    np.testing.assert_allclose(project(2 * a - b), 2 * project(a) - project(b), atol=1e-4)
    np.testing.assert_array_equal(Projection(5000, 256, seed=3, block=2048)(a), project(a))
    assert abs(_cosines(Projection(5000, 256, seed=4, block=2048)(a)[None], project(a)[None])) < 0.4


def test_the_matrix_follows_from_raw_random_bits_whose_stream_numpy_promises():
    # Stored vectors are compared with new ones: a change here must change the facts.
    project = Projection(100, 8, seed=5, block=64)

    def signs(stream, n):
        word = np.random.Philox(key=[5, stream]).random_raw(1).astype("<u8").tobytes()
        bits = "".join(f"{byte:08b}" for byte in word)
        return np.array([1 if bit == "1" else -1 for bit in bits[:n]])

    parts = []
    for b, width in enumerate([64, 36]):
        keys = np.random.Philox(key=[5, 3 * b + 1]).random_raw(64)
        rows = hadamard(64)[np.sort(np.argsort(keys)[:8]), :width]
        parts.append(signs(3 * b + 2, 8)[:, None] * rows * signs(3 * b, width))
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    np.testing.assert_allclose(project(x), np.hstack(parts) @ x / 8**0.5, atol=1e-5)


def test_as_many_dimensions_as_parameters_need_no_projection():
    x = np.arange(5, dtype=np.float32)
    for dim in (None, 5, 1024):
        project = Projection(5, dim)
        assert (project.dim, project.facts) == (5, {"projection": "none"})
        np.testing.assert_array_equal(project(x), x)


def test_memory_does_not_grow_with_the_size_of_the_matrix():
    project = Projection(3 << 20, 4096)
    x = np.ones(3 << 20, np.float32)
    tracemalloc.start()
    project(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20  # the matrix itself would be 48 GB


@pytest.mark.parametrize(("dim", "block"), [(0, 64), (-1, 64), (65, 64), (8, 48)])
def test_impossible_sizes_are_refused(dim, block):
    with pytest.raises(ValueError, match=r"block|dimensions"):
        Projection(100, dim, block=block)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="100 numbers"):
        Projection(100, 8)(np.zeros(99, np.float32))
