"""Coverage by screened cosines is that of exact ones, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store import cores
from influence_store.selection.baselines import column_means
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.engine.half import HalfView
from influence_store.selection.engine.screen import ScreenedView
from influence_store.selection.engine.screened_columns import ScreenedColumns
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import NaiveGreedy
from influence_store.selection.optimizers.knapsack import KnapsackGreedy
from influence_store.selection.tiles import best_over, lower_bound
from influence_store.selection.views import (
    ArrayView,
    Clipped,
    CosineView,
    DenseView,
    ProductView,
    screened,
)

ENOUGH = 1 << 30
#: One tile, and the edges of one, two and three of them.
SIZES = (1, 2, 300, 1_008, 1_009, 2_100)


def vectors_of(n, seed=0, d=24, spread=0.7):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(9, d))[rng.integers(9, size=n)] + spread * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def screen_of(vectors):
    view = screened(CosineView(vectors, vectors), ENOUGH)
    assert isinstance(view, ScreenedView)
    return view


def exact(view):
    """The same kernel, every value of it."""
    everyone = np.arange(view.n)
    return ArrayView(view.block(everyone, everyone))


def same(one, other):
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.gains, other.gains)


@pytest.mark.parametrize("n", SIZES)
def test_values_are_the_cosines_on_their_grid(n):
    vectors = vectors_of(n)
    view, everyone = screen_of(vectors), np.arange(n)
    truth = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    found = view.block(everyone, everyone)
    np.testing.assert_allclose(found, truth, rtol=0, atol=2.0**-22)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(found * 2.0**22 % 1, 0)
    assert view.low == found.min() == lower_bound(view)
    some = np.random.default_rng(n).integers(n, size=7)
    np.testing.assert_array_equal(view.block(some, some[:3]), found[np.ix_(some, some[:3])])
    np.testing.assert_array_equal(view.block(everyone[::-1], some), found[::-1][:, some])
    np.testing.assert_array_equal(best_over(view, some), found[:, some].max(axis=1))
    np.testing.assert_allclose(column_means(view), found.mean(axis=0), atol=2.0**-22)


@pytest.mark.parametrize("n", SIZES)
def test_the_screen_errs_by_no_more_than_it_says(n):
    view = screen_of(vectors_of(n))
    truth, everyone = exact(view).matrix.astype(np.float64), np.arange(n)
    told = view.strip(everyone)
    np.testing.assert_array_equal(told, told.T)
    assert np.abs((told - 2.0**15) * view.unit - truth).max() <= view.error * view.unit
    factor, least = view.ceiling
    assert (np.float32(told.astype(np.int32) + least) * factor >= truth).all()
    level = np.quantile(truth, 0.7, axis=0).astype(np.float32)
    assert (told > view.floor_of(level)[None, :])[truth > level[None, :]].all()


@pytest.mark.parametrize("n", SIZES)
def test_bounds_are_above_the_gains_and_not_far(n):
    view = screen_of(vectors_of(n))
    columns, everyone, cap = ScreenedColumns(view), np.arange(n), np.full(n, np.inf, np.float32)
    for level in (
        np.full(n, view.low, np.float32),
        np.quantile(exact(view).matrix, 0.9, axis=0).astype(np.float32),
    ):
        gains = columns.gains(everyone, level, cap)
        far = n * 3 * view.error * view.unit
        for bounds in (columns.bounds(level), columns.tighter(level)):
            assert (bounds >= gains).all()
            assert (bounds[np.isfinite(bounds)] <= (gains + far)[np.isfinite(bounds)]).all()
        pairs = columns.pairs(level, cap)
        assert (pairs.gains(level) >= gains).all()
        pairs.learn(level, everyone)
        np.testing.assert_array_equal(pairs.gains(level), gains)
        assert np.isfinite(columns.tighter(level)).all()


@pytest.mark.parametrize("patience", [1.0, 0.1, 0.0], ids=["pairs at once", "as is", "late"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 300, 1_300])
def test_greedy_picks_what_naive_greedy_picks(n, threads, patience, monkeypatch):
    monkeypatch.setattr(cores, "cores", lambda: threads)
    monkeypatch.setattr(ScreenedColumns, "patience", patience)
    vectors = vectors_of(n)
    vectors[n // 2 :: 9] = vectors[n // 3]  # equal samples tie
    view = screen_of(vectors)
    budget = min(n, 40)
    one = FusedGreedy().maximize(FacilityLocation(view, view.low), budget)
    other = NaiveGreedy().maximize(FacilityLocation(exact(view), view.low), budget)
    same(one, other)
    plain = FacilityLocation(exact(view), view.low)
    state = plain.empty()
    for item in one.items.tolist():
        state = plain.add(state, item)
    np.testing.assert_array_equal(one.left, plain.gains(state, np.arange(n)))
    assert one.gains.sum() == pytest.approx(FacilityLocation(view, view.low).value(one.items))


def test_limits_and_a_start_are_kept():
    view = screen_of(vectors_of(700))
    function, plain = (FacilityLocation(kernel, view.low) for kernel in (view, exact(view)))
    rng = np.random.default_rng(4)
    limits = Limits(
        60,
        costs=rng.integers(1, 9, 700).astype(float),
        most=200.0,
        barred=rng.random(700) < 0.2,
        groups=rng.integers(3, size=700),
        ceilings=np.array([20, 20, 60]),
    )
    same(*(KnapsackGreedy(FusedGreedy).maximize(f, limits) for f in (function, plain)))
    start = FusedGreedy().maximize(plain, 130).items[::3]
    for budget in (44, 90):
        begun = Limits(budget, start=start)
        same(*(FusedGreedy().maximize(f, begun) for f in (function, plain)))


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-3])
def test_samples_closer_than_the_screen_can_tell(spread):
    """All lies within the error of all, and the picks are still those of the truth."""
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.normal(size=(3, 16)), 50, axis=0)
    vectors += spread * rng.normal(size=vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    view = screen_of(vectors)
    one = FusedGreedy().maximize(FacilityLocation(view, view.low), 20)
    same(one, NaiveGreedy().maximize(FacilityLocation(exact(view), view.low), 20))
    np.testing.assert_array_equal(
        best_over(view, one.items), exact(view).matrix[:, one.items].max(axis=1)
    )


def test_the_picks_are_those_of_cosines_computed_tile_by_tile():
    vectors = vectors_of(900, d=384)
    view = screen_of(vectors)
    plain = CosineView(vectors, vectors)
    same(
        FusedGreedy().maximize(FacilityLocation(view, view.low), 80),
        FusedGreedy().maximize(FacilityLocation(plain, view.low), 80),
    )


def test_functions_with_caps_read_it_tile_by_tile():
    pool, asked = vectors_of(160), vectors_of(9, seed=5)
    pool = np.abs(pool)
    view = screen_of(pool)
    queries = Clipped(CosineView(pool, np.abs(asked)))
    same(
        FusedGreedy().maximize(FL1MI(view, queries), 30),
        FusedGreedy().maximize(FL1MI(exact(view), queries), 30),
    )


def test_only_own_cosines_that_fit_are_screened():
    vectors, others = vectors_of(1_500), vectors_of(20, seed=1)
    own = CosineView(vectors, vectors)
    need = ScreenedView.bytes_of(1_500)
    assert need < HalfView.bytes_of(1_500)
    assert isinstance(screened(own, need), ScreenedView)
    assert screened(own, need - 1) is own
    assert isinstance(screened(CosineView(vectors, others), ENOUGH), DenseView)
    assert isinstance(screened(ProductView(vectors, vectors), ENOUGH), HalfView)
    assert isinstance(screened(Clipped(own), ENOUGH), HalfView)
    with pytest.raises(ValueError, match="nothing to select from"):
        screened(CosineView(vectors[:0], vectors[:0]), ENOUGH)
