"""The compiled engine gives naive greedy's picks and gains, to the last bit, whatever computes."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store import cores
from influence_store.errors import UsageError
from influence_store.selection.engine import greedy
from influence_store.selection.engine.columns import DenseColumns, HalfColumns, Pairs
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.engine.matrix import product_half, product_matrix
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.functions.graph_cut import GraphCut
from influence_store.selection.grid import levels_on_grid, scale_of, to_grid
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, Clipped, CosineView, DenseView, SelfCovered


def clustered(n, d=24, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(7, d))[rng.integers(7, size=n)] + spread * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def kept(view):
    return DenseView.of(view, 1 << 30)


def whole(half):
    """The half, as a matrix that stands by itself."""
    return np.ascontiguousarray(half.strip(np.arange(half.n)))


def same(one, other):
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.gains, other.gains)


def facility_location(n=300, seed=0):
    vectors = clustered(n, seed=seed)
    view = kept(CosineView(vectors, vectors))
    return FacilityLocation(view, lower_bound(view))


def functions(seed=0):
    """One of each, over kernels on a grid."""
    pool, other = clustered(160, seed=seed), clustered(9, seed=seed + 50)
    own, asked = kept(Clipped(CosineView(pool, pool))), Clipped(CosineView(pool, other))
    rng = np.random.default_rng(seed)
    skewed = kept(SelfCovered(ArrayView(rng.normal(size=(160, 160)))))
    return {
        "facility-location": FacilityLocation(own, 0.0),
        "estimates": FacilityLocation(skewed, lower_bound(skewed)),
        "flqmi": FLQMI(kept(Clipped(CosineView(other, pool))), eta=0.5),
        "fl1mi": FL1MI(own, kept(asked)),
        "flcg": FLCG(own, kept(asked)),
    }


@pytest.mark.parametrize("name", functions())
@pytest.mark.parametrize("seed", range(3))
def test_the_engine_picks_what_naive_greedy_picks(name, seed):
    function = functions(seed)[name]
    for budget in (0, 1, 40, function.n):
        fast = FusedGreedy().maximize(function, budget)
        same(fast, NaiveGreedy().maximize(function, budget))
        assert fast.gains.sum() == pytest.approx(function.value(fast.items), rel=1e-12)


def test_what_is_left_to_gain_is_told():
    function = facility_location()
    chosen = FusedGreedy().maximize(function, 30)
    state = function.empty()
    for item in chosen.items.tolist():
        state = function.add(state, item)
    left = function.gains(state, np.arange(function.n))
    np.testing.assert_array_equal(chosen.left, left)


def test_levels_and_caps_off_the_grid_change_no_pick():
    pool, other = clustered(160), clustered(9, seed=9)
    own, asked = kept(Clipped(CosineView(pool, pool))), kept(Clipped(CosineView(pool, other)))
    for function in (FLCG(own, asked, nu=0.83), FL1MI(own, asked, eta=1.17)):
        fast, slow = (one().maximize(function, 60) for one in (FusedGreedy, NaiveGreedy))
        np.testing.assert_array_equal(fast.items, slow.items)
        np.testing.assert_allclose(fast.gains, slow.gains, rtol=1e-5, atol=160 * 2.0**-22)


def test_the_kernel_and_the_picks_are_the_same_on_one_core_and_on_many(monkeypatch):
    vectors = clustered(2_300, seed=3)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(cores, "cores", lambda threads=threads: threads)
        half = product_half(vectors, 1.0)
        level = np.full(len(vectors), half.low, np.float32)
        cap, bonus = np.full(len(vectors), np.inf, np.float32), np.zeros(len(vectors))
        for columns in (HalfColumns(half), DenseColumns(whole(half))):
            chosen = greedy.maximize(columns, level, Limits(150), cap=cap, bonus=bonus)
            found.append((whole(half), chosen))
    for matrix, chosen in found[1:]:
        np.testing.assert_array_equal(matrix, found[0][0])
        same(chosen, found[0][1])


def test_a_kernel_of_a_set_with_itself_is_symmetric_and_twins_have_equal_values():
    vectors = clustered(1_500)
    vectors[[700, 1_400]] = vectors[3]
    half = product_half(vectors, 1.0)
    matrix = whole(half)
    np.testing.assert_array_equal(matrix, matrix.T)
    for twin in (700, 1_400):
        np.testing.assert_array_equal(matrix[twin], matrix[3])
    assert half.low == matrix.min()
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=5e-7)


def test_products_larger_than_the_scale_are_refused():
    vectors = 3 * clustered(10)
    with pytest.raises(ValueError, match=r"expected numbers within ± 1"):
        product_half(vectors, 1.0)
    with pytest.raises(ValueError, match=r"expected numbers within ± 1"):
        product_matrix(vectors, clustered(10), 1.0)


def test_two_sets_have_a_kernel_of_sources_by_targets():
    targets, sources = clustered(1_100, seed=1), clustered(1_030, seed=2)
    targets[800], sources[[4, 1_029]] = targets[3], sources[2]
    matrix, low = product_matrix(targets, sources, 1.0)
    np.testing.assert_allclose(matrix, sources @ targets.T, atol=5e-7)
    assert low == matrix.min()
    np.testing.assert_array_equal(matrix[:, 800], matrix[:, 3])
    np.testing.assert_array_equal(matrix[[4, 1_029]], matrix[[2, 2]])


@pytest.mark.parametrize("patience", [1.0, 0.3, 0.0], ids=["pairs at once", "soon", "late"])
def test_the_moment_of_changing_to_pairs_changes_no_bit(monkeypatch, patience):
    function = facility_location()
    expected = LazyGreedy().maximize(function, 120)
    monkeypatch.setattr(HalfColumns, "patience", patience)
    same(FusedGreedy().maximize(function, 120), expected)


@pytest.mark.parametrize("work", [1, 500, 1 << 40])
def test_pauses_change_no_bit(monkeypatch, work):
    function = facility_location()
    expected = LazyGreedy().maximize(function, 120)
    monkeypatch.setattr(greedy, "_WORK", work)
    same(FusedGreedy().maximize(function, 120), expected)


def test_a_kernel_computed_tile_by_tile_gives_the_same_answer():
    vectors = clustered(250)
    view = CosineView(vectors, vectors)
    held = kept(view)
    tiled = FusedGreedy().maximize(FacilityLocation(view, -1.0), 50)
    whole = FusedGreedy().maximize(FacilityLocation(held, -1.0), 50)
    np.testing.assert_array_equal(tiled.items, whole.items)
    np.testing.assert_allclose(tiled.gains, whole.gains, atol=250 * 2.0**-21)


def some_limits(n, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 4, n)
    sizes = np.bincount(groups, minlength=4)
    costs = rng.integers(1, 40, n).astype(np.float64)
    barred = rng.random(n) < 0.2
    start = np.flatnonzero(~barred)[[5, 2, 9]]
    return {
        "barred": Limits(30, barred=barred),
        "start": Limits(30, start=start, barred=barred),
        "quotas": Limits(
            40, groups=groups, floors=np.array([4, 0, 9, 1]),
            ceilings=np.minimum(sizes, [8, 5, 30, 9]),
        ),
        "money": Limits(n, costs=costs, most=200.0),
        "money and quotas": Limits(
            40, costs=costs, most=260.0, groups=groups, floors=np.array([1, 2, 0, 3]),
            ceilings=sizes, start=start,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", some_limits(200, 0))
@pytest.mark.parametrize("per_cost", [False, True])
def test_limits_are_kept_as_lazy_greedy_keeps_them(name, per_cost):
    for seed in range(4):
        function = facility_location(200, seed)
        limits = some_limits(200, seed)[name]
        if per_cost and limits.costs is None:
            continue
        fast, slow = (
            one(per_cost=per_cost).maximize(function, limits) for one in (FusedGreedy, LazyGreedy)
        )
        same(fast, slow)


def test_pairs_forget_what_can_no_longer_count():
    pairs = Pairs(
        np.array([0, 2, 2, 5]), np.array([0, 1, 0, 1, 2], np.int32),
        np.array([0.5, 0.25, 1.0, 0.75, 0.25], np.float32),
    )  # fmt: skip
    level = np.array([0.5, 0.125, 0.25], np.float32)
    np.testing.assert_array_equal(pairs.gains(level), [0.125, 0.0, 0.5 + 0.625])
    np.testing.assert_array_equal(pairs.drop_below(level), [0.125, 0.0, 0.5 + 0.625])
    assert pairs.start.tolist() == [0, 1, 1, 3]
    assert pairs.target.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(pairs.gains(level), [0.125, 0.0, 0.5 + 0.625])


def test_a_function_that_covers_nothing_is_refused():
    function = GraphCut(ArrayView(np.eye(4)))
    with pytest.raises(UsageError, match="GraphCut is no coverage function"):
        FusedGreedy().maximize(function, 2)


def test_the_grid_moves_no_value_by_more_than_half_a_unit_and_sums_exactly():
    rng = np.random.default_rng(0)
    for scale in (0.25, 1.0, 64.0):
        values = (scale * rng.uniform(-1, 1, 5_000)).astype(np.float32)
        moved = to_grid(values.copy(), scale)
        assert np.abs(moved - values).max() <= scale * 2.0**-23 * 1.01
        shuffled = rng.permutation(moved.astype(np.float64))
        assert np.cumsum(shuffled)[-1] == np.cumsum(moved.astype(np.float64))[-1]


def test_scales_are_powers_of_two():
    assert [scale_of(x) for x in (0.0, 0.3, 0.5, 1.0, 1.01, 5.0)] == [1.0, 0.5, 0.5, 1.0, 2.0, 8.0]
    with pytest.raises(ValueError, match="expected a finite number"):
        scale_of(float("nan"))
    np.testing.assert_array_equal(levels_on_grid(np.array([-np.inf, 3.0]), 1.0), [-1.0, 1.0])


def test_picks_that_stay_are_counted_where_only_pairs_are_known():
    rng = np.random.default_rng(0)
    matrix = to_grid(rng.random((40, 40), np.float32), 1.0)
    level = np.full(40, 0.5, np.float32)
    cap, bonus = np.full(40, np.inf, np.float32), np.zeros(40)
    limits = Limits(12, start=np.array([7, 3]))
    columns = DenseColumns(matrix)
    whole = greedy.maximize(columns, level, limits, cap=cap, bonus=bonus)
    known = greedy.maximize(columns.pairs(level, cap), level, limits, cap=cap, bonus=bonus)
    same(known, whole)
    assert known.items[:2].tolist() == [7, 3]


def test_free_bounds_are_bounds():
    vectors = clustered(300)
    view = kept(CosineView(vectors, vectors))
    function = FacilityLocation(view, lower_bound(view))
    level = np.full(300, view.low, np.float32)
    first = function.gains(function.empty(), np.arange(300))
    for columns in (HalfColumns(view), DenseColumns(whole(view), view.totals, view.low)):
        assert (columns.bounds(level) >= first).all()
        assert columns.bounds(level).max() < 1.01 * first.max()
        assert np.isinf(columns.bounds(level + 0.5)).all()
