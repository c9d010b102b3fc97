from __future__ import annotations

import numpy as np
import pytest

from influence_store.schema.estimator import Head
from influence_store.selection.views import (
    ArrayView,
    Clipped,
    CosineView,
    DenseView,
    EstimatorView,
    SelfCovered,
)


def unit(rng, n, d):
    vectors = rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def whole(view):
    return view.block(np.arange(view.shape[0]), np.arange(view.shape[1]))


def views():
    """One of each, none of them symmetric, (6, 9) except the square one."""
    rng = np.random.default_rng(0)
    head = Head("relu", 2.0, 0.5, rng.normal(size=3).astype(np.float32))
    left, right = (rng.normal(size=(n, 3)).astype(np.float32) for n in (6, 9))
    matrix = ArrayView(rng.normal(size=(6, 9)))
    return {
        "cosine": CosineView(unit(rng, 6, 5), unit(rng, 9, 5)),
        "estimator": EstimatorView(left, right, head, max_bytes=200),
        "array": matrix,
        "dense": DenseView.of(matrix, 1 << 20),
        "clipped": Clipped(matrix, 0.25),
        "self-covered": SelfCovered(ArrayView(rng.normal(size=(9, 9)))),
    }


@pytest.mark.parametrize("name", views())
def test_a_block_is_that_part_of_the_whole(name):
    view = views()[name]
    everything = whole(view)
    assert everything.shape == view.shape
    assert everything.dtype == np.float32
    rows, cols = np.array([4, 0, 4, 2]), np.array([7, 1, 4])
    np.testing.assert_array_equal(view.block(rows, cols), everything[np.ix_(rows, cols)])
    np.testing.assert_array_equal(view.block(np.arange(view.shape[0]), cols), everything[:, cols])
    assert view.block(rows[:0], cols).shape == (0, 3)


def test_cosine_rows_are_targets():
    view = CosineView(np.array([[1, 0], [0.6, 0.8]]), np.array([[1, 0], [0, 1], [0.6, 0.8]]))
    np.testing.assert_allclose(whole(view), [[1, 0, 0.6], [0.6, 0.8, 1]], atol=1e-7)


def test_a_cosine_does_not_depend_on_the_block_it_is_asked_in():
    rng = np.random.default_rng(1)
    view = CosineView(unit(rng, 150, 384), unit(rng, 90, 384))
    everything = whole(view)
    for width in (1, 2, 7, 64):
        blocks = [
            view.block(np.arange(150), np.arange(start, min(start + width, 90)))
            for start in range(0, 90, width)
        ]
        np.testing.assert_array_equal(np.hstack(blocks), everything)


def test_equal_samples_have_equal_columns():
    rng = np.random.default_rng(2)
    vectors = unit(rng, 60, 384)
    view = CosineView(unit(rng, 40, 384), np.concatenate([vectors, vectors[:13]]))
    np.testing.assert_array_equal(whole(view)[:, 60:], whole(view)[:, :13])


def test_vectors_of_other_length_are_refused():
    good = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"1 source vectors .* position 2 with 2; .* normalised"):
        CosineView(good, good * [[1], [1], [2]])
    with pytest.raises(ValueError, match=r"1 target vectors .* position 1 with nan"):
        CosineView(good * [[1], [np.nan], [1]], good)


def test_vectors_of_two_embedders_are_refused():
    with pytest.raises(ValueError, match="targets have 3 dimensions and sources 2"):
        CosineView(np.eye(3), np.eye(2))


@pytest.mark.parametrize("kind", ["dot", "relu"])
def test_an_estimator_view_is_its_head(kind):
    rng = np.random.default_rng(3)
    head = Head(kind, -1.5, 0.25, rng.normal(size=4).astype(np.float32))
    targets, sources = rng.normal(size=(11, 4)), rng.normal(size=(7, 4))
    view = EstimatorView(targets.astype(np.float32), sources.astype(np.float32), head)
    np.testing.assert_allclose(whole(view), head(targets, sources), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("max_bytes", "pairs"), [(1, 1), (16 * 4 * 6, 6), (1 << 20, 77)])
def test_a_head_is_never_asked_for_more_pairs_than_fit(max_bytes, pairs):
    asked = []

    def head(targets, sources):
        asked.append(len(targets) * len(sources))
        return targets.sum(1)[:, None] - sources.sum(1)[None, :]

    rng = np.random.default_rng(4)
    targets, sources = (rng.normal(size=(n, 4)).astype(np.float32) for n in (11, 7))
    values = whole(EstimatorView(targets, sources, head, max_bytes=max_bytes))
    np.testing.assert_allclose(values, targets.sum(1)[:, None] - sources.sum(1), atol=1e-6)
    assert max(asked) == pairs
    assert sum(asked) == 77


def test_vectors_of_two_estimators_are_refused():
    with pytest.raises(ValueError, match="expected equal widths"):
        EstimatorView(np.zeros((2, 3)), np.zeros((2, 4)), Head("dot"))


def test_an_array_has_two_axes():
    with pytest.raises(ValueError, match=r"expected \(n_targets, n_sources\), found shape \(3,\)"):
        ArrayView(np.zeros(3))


def test_a_view_is_cached_exactly_where_it_fits():
    view = ArrayView(np.random.default_rng(5).random((6, 9)))
    assert DenseView.of(view, 4 * 6 * 9 - 1) is view
    cached = DenseView.of(view, 4 * 6 * 9)
    assert isinstance(cached, DenseView)
    np.testing.assert_allclose(whole(cached), view.matrix, atol=2.0**-23)
    assert cached.low == cached.by_source.min()
    assert DenseView.of(cached, 0) is cached


@pytest.mark.parametrize("name", sorted(set(views()) - {"dense"}))
def test_a_view_kept_in_memory_is_itself_on_a_grid(name):
    view = views()[name]
    kept = DenseView.of(view, 1 << 20)
    np.testing.assert_allclose(whole(kept), whole(view), rtol=0, atol=kept.scale * 2.0**-22)
    units = whole(kept).astype(np.float64) / (kept.scale * 2.0**-22)
    np.testing.assert_array_equal(units, np.round(units))
    assert np.abs(units).max() <= 2**22


def test_own_pairs_become_the_best_other_pair_of_the_row():
    view = SelfCovered(ArrayView([[9, 2, 1], [5, 9, 6], [-3, -1, 9]]))
    np.testing.assert_array_equal(whole(view), [[2, 2, 1], [5, 6, 6], [-3, -1, -1]])


def test_own_pairs_are_never_read():
    values = np.array([[np.nan, 2, 1], [5, np.inf, 6], [-3, -1, np.nan]])
    np.testing.assert_array_equal(
        whole(SelfCovered(ArrayView(values))), [[2, 2, 1], [5, 6, 6], [-3, -1, -1]]
    )


def test_a_single_sample_covers_nothing():
    assert whole(SelfCovered(ArrayView([[0.7]]))).tolist() == [[0.0]]


class Lender:
    """A view that hands out its own memory where everything is asked for."""

    shape = (3, 3)

    def __init__(self):
        self.matrix = np.arange(9, dtype=np.float32).reshape(3, 3)

    def block(self, rows, cols):
        return self.matrix if len(rows) == len(cols) == 3 else self.matrix[np.ix_(rows, cols)]


def test_covering_the_diagonal_does_not_write_into_the_view_below():
    lender = Lender()
    np.testing.assert_array_equal(whole(SelfCovered(lender)), [[2, 1, 2], [3, 5, 5], [6, 7, 7]])
    np.testing.assert_array_equal(lender.matrix, np.arange(9).reshape(3, 3))


def test_only_a_square_kernel_has_a_diagonal():
    with pytest.raises(ValueError, match="found 2 targets × 3 sources"):
        SelfCovered(ArrayView(np.zeros((2, 3))))


def test_clipping_raises_small_values_to_the_floor():
    view = ArrayView([[-0.5, 0.25], [0.75, -0.125]])
    np.testing.assert_array_equal(whole(Clipped(view)), [[0, 0.25], [0.75, 0]])
    np.testing.assert_array_equal(whole(Clipped(view, 0.5)), [[0.5, 0.5], [0.75, 0.5]])
