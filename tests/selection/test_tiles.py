from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.tiles import best_over, columns, lower_bound, pick, tiles
from influence_store.selection.views import ArrayView

MATRIX = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
VIEW = ArrayView(MATRIX)


def test_columns_lie_side_by_side():
    values = columns(VIEW, np.array([3, 1]))
    np.testing.assert_array_equal(values, MATRIX[:, [3, 1]].T)
    assert values.flags.c_contiguous


@pytest.mark.parametrize(("tile_bytes", "widths"), [(1, [1] * 7), (60, [3, 3, 1]), (1 << 20, [7])])
def test_tiles_hand_out_every_source_once_within_the_limit(tile_bytes, widths):
    sources = np.array([9, 2, 4, 4, 0, 10, 7])
    parts = list(tiles(VIEW, sources, tile_bytes))
    assert [len(part) for part, _ in parts] == widths
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), sources)
    np.testing.assert_array_equal(np.concatenate([v for _, v in parts]), MATRIX[:, sources].T)


def test_the_lower_bound_is_the_smallest_value():
    assert lower_bound(VIEW) == float(MATRIX.min())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_lower_bound_of_incomplete_values_is_refused(value):
    wrong = MATRIX.copy()
    wrong[2, 4] = wrong[3, 7] = value
    with pytest.raises(ValueError, match=r"2 sources .* not finite.* position 4"):
        lower_bound(ArrayView(wrong))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_kernel_has_no_lower_bound(shape):
    with pytest.raises(ValueError, match="nothing to select from"):
        lower_bound(ArrayView(np.zeros(shape)))


@pytest.mark.parametrize("tile_bytes", [1, 1 << 20])
def test_the_best_source_of_every_target(tile_bytes):
    some = np.array([8, 0, 5])
    np.testing.assert_array_equal(best_over(VIEW, some, tile_bytes), MATRIX[:, some].max(axis=1))
    assert (best_over(VIEW, some[:0], tile_bytes) == -np.inf).all()


def test_picking_everything_copies_nothing():
    assert pick(MATRIX, np.arange(5)) is MATRIX
    np.testing.assert_array_equal(pick(MATRIX, np.array([1, 0, 2, 3, 4])), MATRIX[[1, 0, 2, 3, 4]])
