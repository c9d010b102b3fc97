"""A symmetric kernel kept by its upper half is read as the whole one is, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store import cores
from influence_store.selection.engine import greedy
from influence_store.selection.engine.columns import DenseColumns, HalfColumns
from influence_store.selection.engine.half import HalfView
from influence_store.selection.engine.matrix import product_half
from influence_store.selection.limits import Limits
from influence_store.selection.views import (
    Clipped,
    CosineView,
    DenseView,
    ProductView,
    SelfCovered,
)

#: One tile, the edge of one, two, and three by three.
SIZES = (1, 2, 300, 1_023, 1_024, 1_025, 2_100)


def vectors_of(n, seed=0, d=16):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(9, d))[rng.integers(9, size=n)] + 0.7 * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def matrix_of(half):
    """The whole kernel, from the tiles alone."""
    out = np.full((half.n, half.n), np.nan, np.float32)
    for k in range(len(half.corners)):
        rows, columns, tile = half.tile(k)
        out[rows, columns] = tile
        out[columns, rows] = tile.T
    return out


def levels_and_caps(half, seed=1):
    """Levels within the values and caps above most of them, on the grid."""
    rng = np.random.default_rng(seed)
    levels = half.strip(np.array([half.n // 2]))[0] - np.float32(0.125)
    caps = np.where(rng.random(half.n) < 0.5, 0.625, np.inf).astype(np.float32)
    return np.clip(levels, -1, 1), caps


@pytest.mark.parametrize("n", SIZES)
def test_a_half_holds_every_product(n):
    vectors = vectors_of(n)
    half = product_half(vectors, 1.0)
    matrix = matrix_of(half)
    np.testing.assert_allclose(matrix, vectors.astype(np.float64) @ vectors.T, rtol=0, atol=5e-7)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert half.low == matrix.min()
    assert half.tiles.nbytes == HalfView.bytes_of(n)


@pytest.mark.parametrize("n", SIZES)
def test_blocks_are_those_of_the_matrix(n):
    half = product_half(vectors_of(n), 1.0)
    matrix, rng = matrix_of(half), np.random.default_rng(n)
    everyone, few, one = np.arange(n), rng.integers(n, size=40), np.array([n - 1])
    for rows in (everyone, few, one):
        for cols in (everyone, few, one):
            found = half.block(rows, cols)
            np.testing.assert_array_equal(found, matrix[np.ix_(rows, cols)])


@pytest.mark.parametrize("n", SIZES)
def test_a_half_is_read_as_a_whole_matrix_is(n):
    half = product_half(vectors_of(n), 1.0)
    one, other = HalfColumns(half), DenseColumns(matrix_of(half))
    level, cap = levels_and_caps(half)
    for sources in (np.arange(n), np.arange(n)[::-1][:5]):
        found, expected = (c.gains(sources, level, cap) for c in (one, other))
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(one.column(n - 1), other.column(n - 1))
    assert one.share_above(level, cap) == other.share_above(level, cap)
    found, expected = one.pairs(level, cap), other.pairs(level, cap)
    np.testing.assert_array_equal(found.start, expected.start)
    np.testing.assert_array_equal(found.target, expected.target)
    np.testing.assert_array_equal(found.value, expected.value)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_greedy_picks_the_same_from_a_half_and_from_a_whole(n, threads, monkeypatch):
    monkeypatch.setattr(cores, "cores", lambda: threads)
    half = product_half(vectors_of(n), 1.0)
    level, cap = levels_and_caps(half)
    bonus = np.random.default_rng(2).random(n).round(2)
    for patience in (0.1, 0.0):
        monkeypatch.setattr(HalfColumns, "patience", patience)
        one, other = (
            greedy.maximize(columns, level, Limits(min(n, 60)), cap=cap, bonus=bonus)
            for columns in (HalfColumns(half), DenseColumns(matrix_of(half)))
        )
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.gains, other.gains)
        np.testing.assert_array_equal(one.left, other.left)


def test_gains_are_those_of_the_levels_asked_for():
    half = product_half(vectors_of(1_100), 1.0)
    columns, everyone = HalfColumns(half), np.arange(1_100)
    level, cap = levels_and_caps(half)
    before = columns.gains(everyone, level, cap)
    level += np.float32(0.125)
    after = columns.gains(everyone, level, cap)
    assert (after <= before).all()
    assert after.sum() < before.sum()
    np.testing.assert_array_equal(after, HalfColumns(half).gains(everyone, level, cap))
    assert columns.gains(everyone, level, np.full_like(cap, np.inf)).sum() > after.sum()


@pytest.mark.parametrize("n", [1_024, 2_100])
def test_twins_have_equal_values_wherever_they_stand(n):
    vectors = vectors_of(n)
    vectors[[5, n // 2, n - 1]] = vectors[3]
    vectors[[n - 2, 700]] = vectors[40]
    half = product_half(vectors, 1.0)
    matrix = matrix_of(half)
    np.testing.assert_array_equal(matrix, matrix.T)
    for twin, first in ((5, 3), (n // 2, 3), (n - 1, 3), (n - 2, 40), (700, 40)):
        np.testing.assert_array_equal(matrix[twin], matrix[first])
    level, cap = levels_and_caps(half)
    gains = HalfColumns(half).gains(np.arange(n), level, cap)
    assert len(set(gains[[3, 5, n // 2, n - 1]].tolist())) == 1


def test_more_twins_than_are_copied_at_a_time():
    vectors = vectors_of(1_300)
    copies = np.random.default_rng(3).permutation(700)
    vectors[600:] = vectors[:600][copies % 600]
    matrix = matrix_of(product_half(vectors, 1.0))
    originals = np.concatenate([np.arange(600), copies % 600])
    np.testing.assert_array_equal(matrix, matrix[:600, :600][np.ix_(originals, originals)])


@pytest.mark.parametrize("wrap", [Clipped, SelfCovered, lambda view: Clipped(SelfCovered(view))])
@pytest.mark.parametrize("n", [1, 2, 1_300])
def test_what_is_changed_in_a_half_is_what_the_view_says(wrap, n):
    vectors = (1.5 * vectors_of(n)).astype(np.float32)
    kept = DenseView.of(wrap(ProductView(vectors, vectors)), 1 << 30)
    assert isinstance(kept, HalfView)
    everyone = np.arange(n)
    expected = wrap(ProductView(vectors, vectors)).block(everyone, everyone)
    np.testing.assert_allclose(matrix_of(kept), expected, rtol=0, atol=kept.scale * 5e-7)
    assert kept.low == matrix_of(kept).min()
    assert kept.totals is None


def test_only_products_of_a_set_with_itself_are_held_as_a_half():
    vectors, others = vectors_of(20), vectors_of(20, seed=1)
    assert isinstance(DenseView.of(CosineView(vectors, vectors), 1 << 20), HalfView)
    assert isinstance(DenseView.of(CosineView(vectors, others), 1 << 20), DenseView)


def test_a_half_is_kept_exactly_where_it_fits():
    vectors = vectors_of(1_500)
    view, need = CosineView(vectors, vectors), HalfView.bytes_of(1_500)
    assert need < 4 * 1_500 * 1_500
    assert DenseView.of(view, need - 1) is view
    kept = DenseView.of(view, need)
    assert isinstance(kept, HalfView)
    assert DenseView.of(kept, 0) is kept
