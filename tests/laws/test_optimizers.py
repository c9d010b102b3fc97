"""What every optimizer owes: the naive answer, the known bound, the lowest position."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from all_optimizers import ALL, clustered, every_optimizer, exact, same
from set_function_instances import NAMES, instance

from influence_store.errors import UsageError
from influence_store.selection import OPTIMIZERS, optimizers
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import (
    KnapsackGreedy,
    LazyGreedy,
    NaiveGreedy,
    SieveStreaming,
    StochasticGreedy,
)
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, CosineView, DenseView, SelfCovered

INSTANCES = {name: instance(name, np.random.default_rng(0)) for name in NAMES}
SUBMODULAR = [name for name, one in INSTANCES.items() if one.submodular]
COVERING = [name for name in SUBMODULAR if INSTANCES[name].monotone]

every_function = pytest.mark.parametrize("name", COVERING)


class SquaredSize:
    """f(A) = |A|²: gains grow with A, so it is not submodular."""

    n, submodular, monotone = 5, False, True

    def empty(self):
        return 0

    def gains(self, state, candidates):
        return np.full(len(candidates), 2.0 * state + 1.0)

    def add(self, state, item):
        return state + 1

    def value(self, items):
        return float(len(set(items.tolist())) ** 2)


def best_value(function, budget):
    return max(function.value(np.array(s)) for s in combinations(range(function.n), budget))


@pytest.mark.parametrize("name", SUBMODULAR)
@pytest.mark.parametrize("ties", [False, True], ids=["floats", "ties"])
def test_lazy_greedy_is_naive_greedy_bit_for_bit(name, ties):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 12), rng.integers(1, 30)
        function = instance(name, rng, ties=ties, m=m, n=n)
        for budget in {0, 1, n // 3, n}:
            same(LazyGreedy().maximize(function, budget), NaiveGreedy().maximize(function, budget))


def test_lazy_greedy_is_naive_greedy_on_a_clustered_kernel_with_twins():
    vectors = np.concatenate([clustered(120), clustered(40)])
    view = SelfCovered(CosineView(vectors, vectors))
    for kernel in (view, DenseView.of(view, 1 << 20)):
        function = FacilityLocation(kernel, lower_bound(kernel))
        same(LazyGreedy().maximize(function, 60), NaiveGreedy().maximize(function, 60))


def test_a_cached_kernel_and_one_computed_on_demand_pick_the_same():
    vectors = clustered(200, d=384)
    view = CosineView(vectors, vectors)
    on_demand = LazyGreedy().maximize(FacilityLocation(view, -1.0), 40)
    cached = LazyGreedy().maximize(FacilityLocation(DenseView.of(view, 1 << 20), -1.0), 40)
    np.testing.assert_array_equal(on_demand.items, cached.items)
    # Values that are held lie on a grid of 2^-22 (views.py).
    np.testing.assert_allclose(on_demand.gains, cached.gains, atol=200 * 2.0**-22)


def test_lazy_greedy_evaluates_less_than_a_quarter_of_the_gains():
    vectors = clustered(400)
    function = FacilityLocation(CosineView(vectors, vectors), -1.0)
    lazy = LazyGreedy().maximize(function, 80).evaluations
    assert 400 <= lazy < NaiveGreedy().maximize(function, 80).evaluations / 4


@every_function
@exact
def test_greedy_reaches_1_minus_1_over_e_of_the_best_set(name, optimizer):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        function = instance(name, rng, ties=seed % 2 == 0, m=5, n=8)
        for budget in (2, 3):
            reached = function.value(optimizer.maximize(function, budget).items)
            assert reached >= (1 - 1 / np.e) * best_value(function, budget) - 1e-9


@every_function
@exact
def test_the_first_pick_is_the_best_single_source(name, optimizer):
    for seed in range(10):
        function = instance(name, np.random.default_rng(seed), ties=True)
        chosen = optimizer.maximize(function, 1)
        alone = [function.value(np.array([j])) for j in range(function.n)]
        assert chosen.gains[0] == pytest.approx(max(alone))
        assert alone[chosen.items[0]] == pytest.approx(max(alone))


@exact
def test_greedy_is_optimal_where_sources_do_not_overlap(optimizer):
    worth = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0])
    function = FacilityLocation(ArrayView(np.diag(worth)), 0.0)
    for budget in range(1, 9):
        chosen = optimizer.maximize(function, budget)
        assert function.value(chosen.items) == best_value(function, budget)


@every_function
@exact
def test_a_prefix_is_the_answer_for_a_smaller_budget(name, optimizer):
    function = instance(name, np.random.default_rng(3), ties=True, m=9, n=14)
    longest = optimizer.maximize(function, 14)
    for budget in range(15):
        shorter = optimizer.maximize(function, budget)
        np.testing.assert_array_equal(shorter.items, longest.items[:budget])
        np.testing.assert_array_equal(shorter.gains, longest.gains[:budget])


@exact
def test_renumbering_sources_renumbers_the_selection(optimizer):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kernel = rng.random((9, 14), np.float32)
        order = rng.permutation(14)
        chosen = optimizer.maximize(FacilityLocation(ArrayView(kernel), 0.0), 6)
        moved = optimizer.maximize(FacilityLocation(ArrayView(kernel[:, order]), 0.0), 6)
        np.testing.assert_array_equal(order[moved.items], chosen.items)


@exact
def test_renumbering_targets_changes_no_pick(optimizer):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kernel = rng.random((9, 14), np.float32)
        chosen = optimizer.maximize(FLQMI(ArrayView(kernel)), 6)
        moved = optimizer.maximize(FLQMI(ArrayView(kernel[rng.permutation(9)])), 6)
        np.testing.assert_array_equal(moved.items, chosen.items)
        np.testing.assert_allclose(moved.gains, chosen.gains, rtol=1e-12)


@exact
def test_an_all_equal_kernel_is_picked_from_the_front(optimizer):
    view = ArrayView(np.full((4, 6), 0.5))
    chosen = optimizer.maximize(FacilityLocation(view, 0.0), 6)
    assert chosen.items.tolist() == [0, 1, 2, 3, 4, 5]
    assert chosen.gains.tolist() == [2.0, 0.0, 0.0, 0.0, 0.0, 0.0]


@exact
def test_of_twins_the_first_is_picked_and_the_second_gains_nothing(optimizer):
    rng = np.random.default_rng(0)
    half = rng.random((7, 5), np.float32)
    chosen = optimizer.maximize(FacilityLocation(ArrayView(np.hstack([half, half])), 0.0), 10)
    assert set(chosen.items[:5].tolist()) == {0, 1, 2, 3, 4}
    assert (chosen.gains[5:] == 0).all()


@every_optimizer
def test_a_budget_of_nothing_picks_nothing(optimizer):
    chosen = optimizer.maximize(FacilityLocation(ArrayView(np.eye(3)), 0.0), 0)
    assert (len(chosen.items), len(chosen.gains)) == (0, 0)
    assert (chosen.items.dtype, chosen.gains.dtype) == (np.int64, np.float64)


@every_optimizer
def test_a_budget_of_all_picks_every_source_once(optimizer):
    function = FacilityLocation(ArrayView(np.random.default_rng(0).random((4, 9))), 0.0)
    chosen = optimizer.maximize(function, 9)
    assert sorted(chosen.items.tolist()) == list(range(9))
    assert chosen.gains.sum() == pytest.approx(function.value(np.arange(9)))


@every_optimizer
@pytest.mark.parametrize("budget", [-1, 4])
def test_a_budget_outside_0_to_n_is_refused(optimizer, budget):
    with pytest.raises(UsageError, match=f"budget is {budget}; expected 0 to 3"):
        optimizer.maximize(FacilityLocation(ArrayView(np.eye(3)), 0.0), budget)


@pytest.mark.parametrize(
    "optimizer",
    [*[ALL[name] for name in ALL if name != "naive"], SieveStreaming(), KnapsackGreedy()],
    ids=lambda one: type(one).__name__,
)
def test_a_function_with_growing_gains_is_refused(optimizer):
    with pytest.raises(ValueError, match="SquaredSize is not submodular; use NaiveGreedy"):
        optimizer.maximize(SquaredSize(), Limits(2, costs=np.ones(5)))


def test_naive_greedy_takes_any_set_function():
    chosen = NaiveGreedy().maximize(SquaredSize(), 3)
    assert (chosen.items.tolist(), chosen.gains.tolist()) == ([0, 1, 2], [1.0, 3.0, 5.0])


@every_optimizer
def test_a_missing_value_stops_with_its_source(optimizer):
    kernel = np.random.default_rng(0).random((3, 4))
    kernel[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 sources .* not finite.*position 2"):
        optimizer.maximize(FacilityLocation(ArrayView(kernel), 0.0), 2)


def test_stochastic_greedy_repeats_itself_under_its_seed():
    view = ArrayView(np.random.default_rng(0).random((20, 60)))
    function = FacilityLocation(view, 0.0)
    one = StochasticGreedy(seed=7).maximize(function, 12)
    same(one, StochasticGreedy(seed=7).maximize(function, 12))
    assert one.items.tolist() != StochasticGreedy(seed=8).maximize(function, 12).items.tolist()


def test_stochastic_greedy_that_looks_at_everything_is_naive_greedy():
    view = ArrayView(np.random.default_rng(1).random((20, 30)))
    function = FacilityLocation(view, 0.0)
    # ln(1 / eps) ≥ budget: every step looks at all that is left.
    same(
        StochasticGreedy(seed=0, eps=1e-5).maximize(function, 10),
        NaiveGreedy().maximize(function, 10),
    )


def test_stochastic_greedy_keeps_its_bound_on_average():
    function = FacilityLocation(ArrayView(np.random.default_rng(2).random((6, 10))), 0.0)
    reached = [
        function.value(StochasticGreedy(seed=s, eps=0.1).maximize(function, 3).items)
        for s in range(30)
    ]
    assert np.mean(reached) >= (1 - 1 / np.e - 0.1) * best_value(function, 3)


@pytest.mark.parametrize("eps", [0.0, 1.0, -0.5, float("nan")])
def test_stochastic_greedy_refuses_an_eps_outside_0_to_1(eps):
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        StochasticGreedy(seed=0, eps=eps)


def test_every_optimizer_is_registered():
    loaded = {OPTIMIZERS.get(name).__name__ for name in OPTIMIZERS.builtin}
    assert loaded == {*optimizers.__all__, "FusedGreedy"}
