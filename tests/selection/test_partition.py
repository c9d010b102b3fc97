"""Selecting in parts: every sample in one part, every rule kept, close to exact on clusters."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.protocols import Chosen
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.partition import (
    by_gain,
    cells_for,
    merge,
    part_picks,
    parts_of,
    winners_of,
)
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import CosineView

N, DIM, CLUSTERS, BUDGET = 400, 16, 12, 24
HUGE = 1 << 40


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, DIM))
    rows = centres[rng.integers(CLUSTERS, size=N)] + 0.4 * rng.normal(size=(N, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("cells", "most"), [(1, N), (4, N), (4, 50), (N, 7), (3, 1)])
def test_parts_hold_everybody_once_and_no_more_than_fits(vectors, cells, most):
    parts = parts_of(vectors, cells, most, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(N))
    assert max(map(len, parts)) <= most
    assert all((np.diff(part) > 0).all() for part in parts)
    again = parts_of(vectors, cells, most, seed=3)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


@pytest.mark.parametrize("n", [2, 100, 10_000, 1_000_000])
@pytest.mark.parametrize("memory", [1 << 20, 1 << 30, 4 << 30])
def test_the_kernel_of_a_part_fits_the_memory(n, memory):
    cells, most = cells_for(n, memory, 2.8)
    assert 2.8 * most**2 <= memory
    assert cells * most >= n


def solved(vectors, parts, barred):
    floor = lower_bound(CosineView(vectors, vectors))
    found = []
    for part in parts:
        count = winners_of(BUDGET, len(part), N)
        one = part_picks(vectors[part], count, barred[part], floor, HUGE)
        found.append(Chosen(part[one.items], one.gains, one.evaluations))
    winners = np.sort(np.concatenate([one.items for one in found]))
    return found, merge(vectors, winners, BUDGET, floor, HUGE)


def test_in_parts_nearly_as_much_is_covered(vectors):
    view = CosineView(vectors, vectors)
    function = FacilityLocation(view, lower_bound(view))
    best = function.value(FusedGreedy().maximize(function, BUDGET).items)
    rng = np.random.default_rng(1)
    chance = np.mean([function.value(rng.choice(N, BUDGET, replace=False)) for _ in range(20)])
    found, merged = solved(vectors, parts_of(vectors, 6, N, seed=0), np.zeros(N, np.bool_))
    assert function.value(merged.items) >= 0.995 * best
    gained = function.value(by_gain(found, BUDGET).items)
    assert (gained - chance) / (best - chance) >= 0.7
    assert np.sum(merged.gains) == pytest.approx(function.value(merged.items), rel=1e-5)


def test_what_is_barred_is_covered_and_never_picked(vectors):
    barred = np.zeros(N, np.bool_)
    barred[::2] = True
    found, merged = solved(vectors, parts_of(vectors, 6, 60, seed=0), barred)
    assert not barred[merged.items].any()
    assert not barred[by_gain(found, BUDGET).items].any()
    assert len(merged.items) == BUDGET
    everybody = np.ones(N, np.bool_)
    none, _ = solved(vectors, parts_of(vectors, 1, N, seed=0), ~everybody | (np.arange(N) > 2))
    assert sorted(none[0].items) == [0, 1, 2]


def test_the_largest_gains_come_first_and_ties_go_to_the_lowest_position():
    one = Chosen(np.array([7, 2]), np.array([3.0, 1.0]), 2)
    other = Chosen(np.array([4, 5]), np.array([3.0, 2.0]), 2)
    chosen = by_gain([one, other], 3)
    assert chosen.items.tolist() == [4, 7, 5]
    assert chosen.gains.tolist() == [3.0, 3.0, 2.0]
