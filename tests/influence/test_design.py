from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.errors import UsageError
from influence_store.influence.design import DESIGNS, block, column, complete, scatter


def ids(n, first=0):
    return [k.to_bytes(16, "big") for k in range(first, first + n)]


def pairs(design, n_sources, n_targets, n_pairs, seed=0):
    sources, targets = design(ids(n_sources), ids(n_targets), n_pairs, seed)
    return list(zip(sources.tolist(), targets.tolist(), strict=True))


every = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)


@every
@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    n_pairs=st.integers(16, 700),
    seed=st.integers(0, 5),
)
def test_no_pair_comes_twice_and_none_lies_outside(design, sides, n_pairs, seed):
    asked = pairs(design, *sides, n_pairs, seed)
    assert len(set(asked)) == len(asked) <= max(n_pairs, 16)
    assert all(0 <= j < sides[0] and 0 <= i < sides[1] for j, i in asked)


@every
@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    n_pairs=st.integers(16, 300),
    more=st.integers(0, 60),
)
def test_a_bigger_budget_continues_a_smaller_one(design, sides, n_pairs, more):
    small, large = (set(pairs(design, *sides, n)) for n in (n_pairs, n_pairs + more))
    assert small <= large


@every
def test_a_design_depends_on_contents_not_on_their_order(design):
    forward = pairs(design, 50, 50, 100, seed=1)
    sources, targets = design(ids(50)[::-1], ids(50)[::-1], 100, 1)
    assert set(forward) == set(zip(49 - sources, 49 - targets, strict=True))


@every
def test_pairs_of_one_source_stand_together(design):
    sources = [j for j, _ in pairs(design, 12, 30, 200)]
    changes = sum(a != b for a, b in pairwise(sources))
    assert changes == len(set(sources)) - 1


@every
def test_another_seed_asks_other_pairs(design):
    assert set(pairs(design, 40, 40, 100, seed=0)) != set(pairs(design, 40, 40, 100, seed=1))


@every
def test_too_few_pairs_are_refused(design):
    with pytest.raises(UsageError, match="too few to learn from"):
        design(ids(50), ids(50), 15, 0)


@every
def test_a_pool_smaller_than_the_budget_is_asked_whole(design):
    assert set(pairs(design, 7, 7, 100)) == {(j, i) for j in range(7) for i in range(7)}


def test_complete_asks_all_sources_about_the_same_targets():
    asked = pairs(complete, 60, 60, 100)
    by_source = {j: {i for k, i in asked if k == j} for j, _ in asked}
    assert len(by_source) == 10
    assert len({frozenset(targets) for targets in by_source.values()}) == 1


@pytest.mark.parametrize("design", [complete, column])
@pytest.mark.parametrize(("n_sources", "n_targets", "n_pairs"), [(30, 300, 900), (300, 7, 350)])
def test_a_lopsided_pool_still_gets_its_pairs(design, n_sources, n_targets, n_pairs):
    assert 0.8 * n_pairs <= len(pairs(design, n_sources, n_targets, n_pairs)) <= n_pairs


def test_block_has_the_same_samples_on_both_sides():
    asked = pairs(block, 60, 60, 100)
    assert {j for j, _ in asked} == {i for _, i in asked}
    assert len(asked) == 100


def test_block_finds_the_shared_samples_when_the_sides_differ():
    """Content decides: a sample that both sides hold is asked in both roles or in none."""
    sources, targets = block(ids(40), ids(40, first=0)[::-1], 49, 0)
    assert set(sources.tolist()) == set((39 - targets).tolist())


def test_column_gives_every_source_its_own_targets():
    asked = pairs(column, 60, 60, 100)
    by_source = {j: frozenset(i for k, i in asked if k == j) for j, _ in asked}
    assert {len(targets) for targets in by_source.values()} == {10}
    assert len(set(by_source.values())) == 10
    assert len({i for _, i in asked}) > 40


@settings(max_examples=25, deadline=None)
@given(sides=st.tuples(st.integers(4, 30), st.integers(4, 30)), n_pairs=st.integers(16, 900))
def test_scatter_spreads_sources_and_targets_evenly(sides, n_pairs):
    asked = np.array(pairs(scatter, *sides, n_pairs))
    assert len(asked) == min(n_pairs, sides[0] * sides[1])
    for column_of_pairs, n in zip(asked.T, sides, strict=True):
        assert np.ptp(np.bincount(column_of_pairs, minlength=n)) <= 1
