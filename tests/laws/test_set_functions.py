"""What every set function must be, whatever its formula: the laws optimizers rely on."""

from __future__ import annotations

import copy
import json
from itertools import combinations

import numpy as np
import pytest
from set_function_instances import EVERY, MONOTONE, OF_KERNELS, SUBMODULAR, TILED, instance

from influence_store.selection import FUNCTIONS
from influence_store.selection.functions.coverage import Coverage
from influence_store.selection.tiles import TILE_BYTES
from influence_store.selection.views import DenseView

every_function = pytest.mark.parametrize("name", EVERY)
with_and_without_ties = pytest.mark.parametrize("ties", [False, True], ids=["floats", "ties"])
SEEDS = range(4)


def state_of(function, items):
    state = function.empty()
    for item in items:
        state = function.add(state, item)
    return state


def all_states(function, largest):
    """Every set of up to `largest` sources, with its state."""
    for size in range(largest + 1):
        for items in combinations(range(function.n), size):
            yield items, state_of(function, items)


def dense(matrix):
    return DenseView(np.ascontiguousarray(matrix.T))


@every_function
def test_the_empty_set_is_worth_nothing(name):
    function = instance(name, np.random.default_rng(0))
    assert function.value(np.array([], np.int64)) == 0.0
    assert function.gains(function.empty(), np.array([], np.int64)).shape == (0,)


@every_function
@with_and_without_ties
def test_gains_along_a_path_add_up_to_the_value(name, ties):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        function = instance(name, rng, ties=ties)
        path = rng.permutation(function.n)
        state, total = function.empty(), 0.0
        for step, item in enumerate(path):
            total += function.gains(state, np.array([item]))[0]
            state = function.add(state, int(item))
            assert total == pytest.approx(function.value(path[: step + 1]), rel=1e-12, abs=1e-12)


@every_function
@with_and_without_ties
def test_a_gain_is_what_the_definition_gives_for_one_more_source(name, ties):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        function = instance(name, rng, ties=ties)
        items = rng.choice(function.n, 3, replace=False)
        gains = function.gains(state_of(function, items.tolist()), np.arange(function.n))
        grown = [function.value(np.append(items, j)) for j in range(function.n)]
        np.testing.assert_allclose(gains, np.array(grown) - function.value(items), atol=1e-12)


@pytest.mark.parametrize("name", SUBMODULAR)
@with_and_without_ties
def test_gains_never_grow_while_the_set_grows_to_the_last_bit(name, ties):
    for seed in SEEDS:
        function = instance(name, np.random.default_rng(seed), ties=ties, n=7)
        assert function.submodular
        for small, state in all_states(function, largest=3):
            others = np.setdiff1d(np.arange(7), small)
            before = function.gains(state, others)
            for extra in others.tolist():
                after = function.gains(function.add(state, extra), others)
                assert (after <= before)[others != extra].all()


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(SUBMODULAR)))
def test_a_function_that_is_not_called_submodular_has_gains_that_grow(name):
    function = instance(name, np.random.default_rng(0), n=7)
    assert not function.submodular
    grew = [
        (function.gains(function.add(state, 6), np.array([5])) > function.gains(state, [5])).all()
        for small, state in all_states(function, largest=3)
        if not {5, 6} & set(small)
    ]
    assert any(grew)


@pytest.mark.parametrize("name", MONOTONE)
@with_and_without_ties
def test_no_source_ever_lowers_the_value(name, ties):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        function = instance(name, rng, ties=ties)
        assert function.monotone
        state = function.empty()
        for item in rng.permutation(function.n).tolist():
            assert (function.gains(state, np.arange(function.n)) >= 0).all()
            state = function.add(state, item)


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(MONOTONE)))
def test_a_function_that_is_not_called_monotone_has_gains_below_0(name):
    function = instance(name, np.random.default_rng(0))
    assert not function.monotone
    lowest = min(function.gains(s, np.arange(8)).min() for _, s in all_states(function, largest=7))
    assert lowest < 0


@every_function
def test_a_chosen_source_gains_nothing_more(name):
    function = instance(name, np.random.default_rng(1))
    chosen = [5, 0, 3]
    assert (function.gains(state_of(function, chosen), np.array(chosen)) == 0).all()


@every_function
def test_add_leaves_the_old_state_as_it_was(name):
    function = instance(name, np.random.default_rng(2))
    state = function.add(function.empty(), 4)
    kept = copy.deepcopy(state)
    before = function.gains(state, np.arange(function.n))
    function.add(state, 1)
    np.testing.assert_equal(state, kept)
    np.testing.assert_array_equal(function.gains(state, np.arange(function.n)), before)


@every_function
def test_a_state_does_not_depend_on_the_order_of_adding(name):
    function = instance(name, np.random.default_rng(3))
    one, other = state_of(function, [6, 2, 4]), state_of(function, [4, 6, 2])
    if "log-determinant" not in name:  # whose Cholesky factor is one of that very order
        np.testing.assert_equal(one, other)
    gains = [function.gains(state, np.arange(function.n)) for state in (one, other)]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-9, atol=1e-12)


@every_function
def test_adding_a_chosen_source_again_changes_no_gain(name):
    function = instance(name, np.random.default_rng(3))
    once, twice = state_of(function, [6, 2]), state_of(function, [6, 2, 6])
    everything = np.arange(function.n)
    np.testing.assert_array_equal(
        function.gains(twice, everything), function.gains(once, everything)
    )


@every_function
def test_value_ignores_order_and_repetition(name):
    function = instance(name, np.random.default_rng(4))
    once = function.value(np.array([1, 2, 7]))
    assert function.value(np.array([7, 1, 2, 7, 1])) == once


@every_function
def test_gains_do_not_depend_on_the_other_candidates(name):
    rng = np.random.default_rng(5)
    function = instance(name, rng, m=700, n=40)
    state = state_of(function, [3, 9])
    together = function.gains(state, np.arange(40))
    alone = [function.gains(state, np.array([j]))[0] for j in range(40)]
    np.testing.assert_array_equal(together, alone)
    shuffled = rng.permutation(40)
    np.testing.assert_array_equal(function.gains(state, shuffled), together[shuffled])


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("tile_bytes", [1, 9_000, 100_000])
def test_tiles_change_no_bit(name, tile_bytes):
    whole = instance(name, np.random.default_rng(6), m=700, n=40, tile_bytes=TILE_BYTES)
    tiled = instance(name, np.random.default_rng(6), m=700, n=40, tile_bytes=tile_bytes)
    for items in ([], [3], [3, 17, 30]):
        np.testing.assert_array_equal(
            tiled.gains(state_of(tiled, items), np.arange(40)),
            whole.gains(state_of(whole, items), np.arange(40)),
        )
        assert tiled.value(np.array(items, np.int64)) == pytest.approx(
            whole.value(np.array(items, np.int64)), rel=1e-12
        )


@pytest.mark.parametrize("name", OF_KERNELS)
def test_a_dense_view_changes_no_bit(name):
    array = instance(name, np.random.default_rng(7), m=700, n=40)
    kept = instance(name, np.random.default_rng(7), m=700, n=40, wrap=dense)
    np.testing.assert_array_equal(
        kept.gains(state_of(kept, [1, 2]), np.arange(40)),
        array.gains(state_of(array, [1, 2]), np.arange(40)),
    )


@every_function
def test_facts_name_the_function_and_survive_json(name):
    facts = instance(name, np.random.default_rng(8)).facts
    assert facts["function"] == name.split()[0]
    assert json.loads(json.dumps(facts)) == facts


@every_function
def test_a_coverage_function_says_its_formula(name):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        function = instance(name, rng)
        if not hasattr(function, "coverage"):
            assert name not in {"facility-location", "flqmi", "fl1mi", "flcg", "flcmi"}
            continue
        items = rng.choice(function.n, 3, replace=False)
        assert covered(function.coverage, items) == pytest.approx(function.value(items), rel=1e-12)
        assert covered(function.coverage, items[:0]) == 0.0


def covered(formula: Coverage, items):
    m, n = formula.view.shape
    values = formula.view.block(np.arange(m), np.arange(n)).astype(np.float64)
    best = values[:, items].max(axis=1, initial=-np.inf)
    capped = best if formula.cap is None else np.minimum(best, formula.cap)
    bonus = 0.0 if formula.bonus is None else formula.bonus[items].sum()
    return np.maximum(capped - formula.level, 0.0).sum() + bonus


def test_every_registered_function_is_tested_here():
    tested = {type(instance(name, np.random.default_rng(0))) for name in EVERY}
    assert {FUNCTIONS.get(name) for name in FUNCTIONS.builtin} <= tested
