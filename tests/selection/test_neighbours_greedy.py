"""Greedy on a neighbour index keeps every limit, and spends money as well as the exact engine."""

from __future__ import annotations

import numpy as np

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.neighbours.greedy import neighbour_greedy
from influence_store.selection.neighbours.index import build_neighbours
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import CosineView


def clustered(n, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(9, 16))[rng.integers(9, size=n)] + 0.6 * rng.normal(size=(n, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_money_is_spent_by_gain_per_cost_where_that_covers_more():
    vectors = clustered(300)
    costs = np.where(np.arange(300) % 3 == 0, 1.0, 30.0)  # a third is nearly free
    index = build_neighbours(vectors, k=64)
    limits = Limits(300, costs=costs, most=60.0)
    chosen = neighbour_greedy(index, limits)
    assert costs[chosen.items].sum() <= 60
    view = CosineView(vectors, vectors)
    function = FacilityLocation(view, lower_bound(view))
    dear = neighbour_greedy(index, Limits(2)).items  # what ranking by gain alone could pay for
    assert function.value(chosen.items) > 1.2 * function.value(dear)
    assert chosen.left is None


def test_picks_that_stay_and_rows_that_are_barred():
    index = build_neighbours(clustered(200), k=32)
    barred = np.zeros(200, np.bool_)
    barred[::2] = True
    chosen = neighbour_greedy(index, Limits(20, start=np.array([9, 3]), barred=barred))
    assert chosen.items[:2].tolist() == [9, 3]
    assert not barred[chosen.items].any()
    assert len(set(chosen.items.tolist())) == 20
