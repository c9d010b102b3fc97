from __future__ import annotations

import numpy as np
import pytest

from influence_store import cores
from influence_store.network import fused_head
from influence_store.network.fused_head import relu_pairs, relu_panel_means
from influence_store.schema.estimator import Head

OFFSET = 0.3


def drawn(targets, sources, width, seed=0):
    """Vectors of both sides and a weight, such that values are of size 1."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(targets, width)), rng.normal(size=(sources, width))
    a = rng.normal(size=width) / np.sqrt(width)
    return p.astype(np.float32), q.astype(np.float32), a.astype(np.float32)


def in_double(p, q, a):
    """The reference, a few targets at a time."""
    head = Head("relu", 1.0, OFFSET, a)
    return np.concatenate([head(p[k : k + 8], q) for k in range(0, len(p), 8)])


def off(got, expected):
    return float((np.abs(got - expected) / np.maximum(1.0, np.abs(expected))).max())


@pytest.mark.parametrize(
    ("targets", "sources", "width"),
    [(1, 1, 1), (1, 2, 3), (2, 513, 7), (3, 512, 100), (1025, 9, 4), (37, 1030, 101), (5, 5, 1000)],
)
def test_pairs_and_panel_means_are_those_of_the_double_precision_head(targets, sources, width):
    p, q, a = drawn(targets, sources, width)
    expected = in_double(p, q, a)
    pairs = relu_pairs(p, q, a, OFFSET)
    assert pairs.dtype == np.float32
    assert pairs.shape == (targets, sources)
    assert off(pairs, expected) < 1e-5
    means = relu_panel_means(p, q, a, OFFSET)
    assert means.shape == (sources,)
    assert off(means, expected.mean(0)) < 1e-5


def test_a_network_worked_out_by_hand():
    # f(x, y) = (relu(x + y) − relu(x − y)) / 4
    a = np.array([0.25, -0.25], np.float32)
    for x, y, value in ((2, 1, 0.5), (1, 2, 0.75), (-1, -1, 0.0)):
        p, q = np.array([[x, x]], np.float32), np.array([[y, -y]], np.float32)
        assert relu_pairs(p, q, a, 0.0)[0, 0] == value
        assert relu_panel_means(p, q, a, 1.0)[0] == 1.0 + value


def test_a_value_does_not_depend_on_its_neighbours_tile_or_threads_by_one_bit(monkeypatch):
    p, q, a = drawn(1030, 1100, 30)
    whole, means = relu_pairs(p, q, a, OFFSET), relu_panel_means(p[:77], q, a, OFFSET)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(1030)[:211], rng.permutation(1100)
    np.testing.assert_array_equal(
        relu_pairs(p[rows], q[columns], a, OFFSET), whole[np.ix_(rows, columns)]
    )
    np.testing.assert_array_equal(relu_pairs(p, q[:3], a, OFFSET), whole[:, :3])  # lies across
    for i, j in ((0, 0), (1029, 1099), (513, 511)):
        assert relu_pairs(p[i : i + 1], q[j : j + 1], a, OFFSET)[0, 0] == whole[i, j]
    for threads in (1, 3):
        monkeypatch.setattr(cores, "cores", lambda threads=threads: threads)
        np.testing.assert_array_equal(relu_pairs(p, q, a, OFFSET), whole)
        np.testing.assert_array_equal(
            relu_panel_means(p[:77], q[columns], a, OFFSET), means[columns]
        )


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("bad", range(4))
def test_a_vector_that_is_not_a_number_is_not_taken_for_zero(bad, k):
    p, q, a = drawn(4, 6, 5)
    p[bad, k] = np.nan
    missing = np.isnan(relu_pairs(p, q, a, OFFSET))
    assert missing[bad].all()
    assert not np.delete(missing, bad, axis=0).any()
    assert np.isnan(relu_panel_means(p, q, a, OFFSET)).all()
    assert np.isfinite(relu_panel_means(np.delete(p, bad, axis=0), q, a, OFFSET)).all()


def test_vectors_may_be_read_only_strided_or_none_at_all():
    p, q, a = drawn(12, 700, 6)
    expected = relu_pairs(p[::2], q[::-1], a, OFFSET)
    for array in (p, q, a):
        array.flags.writeable = False
    np.testing.assert_array_equal(relu_pairs(p[::2], q[::-1], a, OFFSET), expected)
    np.testing.assert_array_equal(relu_pairs(p, q, a, OFFSET)[::2, ::-1], expected)
    assert relu_pairs(p[:0], q, a, OFFSET).shape == (0, 700)
    assert relu_pairs(p, q[:0], a, OFFSET).shape == (12, 0)
    assert relu_panel_means(p, q[:0], a, OFFSET).shape == (0,)


def test_tiles_hold_an_even_number_of_targets():
    # two targets share a sweep; a tile of an odd height would pair them differently
    assert fused_head.TILE_TARGETS % fused_head.PAIRED == 0
