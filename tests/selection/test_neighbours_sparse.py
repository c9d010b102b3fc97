"""Selecting by a neighbour index: the same as by the whole kernel, or nearly, and told so."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.engine.greedy import maximize
from influence_store.selection.limits import Limits
from influence_store.selection.neighbours import sparse
from influence_store.selection.neighbours.index import build_neighbours
from influence_store.selection.neighbours.loss import expected_share
from influence_store.selection.neighbours.sparse import sparse_kernel


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def crowded(n, d=48, seed=0):
    """Clusters of very different size and width, as real texts have them."""
    rng = np.random.default_rng(seed)
    weight = rng.pareto(1.0, size=50) + 0.05
    cluster = rng.choice(50, size=n, p=weight / weight.sum())
    width = rng.uniform(0.05, 1.0, size=50)[cluster]
    return unit(rng.normal(size=(50, d))[cluster] + width[:, None] * rng.normal(size=(n, d)))


def naive(kernel, level, budget):
    """Facility location from `level` by the textbook: every gain at every step."""
    items, gains, level = [], [], level.astype(np.float64)
    for _ in range(budget):
        gain = np.maximum(kernel - level[:, None], 0).sum(axis=0)
        gain[items] = -1
        best = int(np.argmax(gain))
        items.append(best)
        gains.append(gain[best])
        level = np.maximum(level, kernel[:, best])
    return np.array(items), np.array(gains)


def picks(neighbours, budget):
    pairs, level = sparse_kernel(neighbours)
    n = len(level)
    chosen = maximize(pairs, level, Limits(budget), cap=np.ones(n, np.float32), bonus=np.zeros(n))
    return chosen


def as_matrix(pairs, n):
    kernel = np.full((n, n), -np.inf)
    source = np.repeat(np.arange(n), np.diff(pairs.start))
    kernel[pairs.target, source] = pairs.value
    return kernel


@pytest.mark.parametrize("rows", [7, 200])
def test_the_pairs_are_the_listed_ones_above_their_level_source_by_source(rows, monkeypatch):
    monkeypatch.setattr(sparse, "_ROWS", rows)
    neighbours = build_neighbours(crowded(200), k=9)
    pairs, level = sparse_kernel(neighbours)
    expected = np.full((200, 200), -np.inf)
    for i in range(200):
        for j, value in zip(neighbours.index[i], neighbours.similarity[i], strict=True):
            if value > level[i]:
                expected[i, j] = value
    assert np.array_equal(as_matrix(pairs, 200), expected)
    assert len(pairs.target) == np.isfinite(expected).sum()
    ends = pairs.start[1:-1]
    rising = np.diff(pairs.target) > 0
    assert np.delete(rising, ends[(ends > 0) & (ends < len(pairs.target))] - 1).all()
    between = (neighbours.typical + 2 * neighbours.reach.astype(np.float64)) / 3
    assert np.allclose(level, np.minimum(between, neighbours.reach), atol=2.0**-21)
    assert np.array_equal(np.rint(level * 2**22) / 2**22, level)


def test_places_without_a_neighbour_make_no_pair():
    neighbours = build_neighbours(crowded(7), k=20)
    pairs, level = sparse_kernel(neighbours)
    assert pairs.start[-1] == len(pairs.target) <= 49
    assert np.isfinite(level).all()


def test_all_neighbours_listed_give_the_picks_and_gains_of_naive_greedy_on_the_whole_kernel():
    vectors = crowded(120)
    neighbours = build_neighbours(vectors, k=120)
    kernel = np.take_along_axis(neighbours.similarity, np.argsort(neighbours.index, axis=1), axis=1)
    _, level = sparse_kernel(neighbours)
    items, gains = naive(kernel, level, 120)
    chosen = picks(neighbours, 120)
    assert np.array_equal(chosen.items, items)
    assert np.array_equal(chosen.gains, gains)


@pytest.mark.parametrize("budget", [5, 20, 60])
def test_64_neighbours_reach_what_the_whole_kernel_reaches(budget):
    vectors = crowded(1500)
    kernel = (vectors @ vectors.T).astype(np.float64)
    exact = naive(kernel, np.full(1500, kernel.min()), budget)[0]
    chosen = picks(build_neighbours(vectors, cells=8, probes=4), budget).items
    reached, best = (
        (kernel[:, items].max(axis=1) - kernel.min()).sum() for items in (chosen, exact)
    )
    assert reached >= (0.99 if budget == 5 else 0.995) * best


def test_a_crowd_of_more_than_k_twins_is_not_taken_for_covered():
    vectors = crowded(600)
    vectors[:100] = unit(np.random.default_rng(9).normal(size=(1, 48)))
    neighbours = build_neighbours(vectors, k=32)
    assert (neighbours.reach[:100] == 1).all()
    chosen = picks(neighbours, 10).items
    assert (chosen < 100).sum() == 1


def test_the_expected_share_is_hardly_above_the_true_one_and_not_far_below():
    vectors = crowded(1200, seed=4)
    kernel = (vectors @ vectors.T).astype(np.float64)
    neighbours = build_neighbours(vectors, k=32, cells=10, probes=3)
    for budget in (20, 60):
        chosen = picks(neighbours, budget).items
        told = expected_share(vectors, neighbours, chosen, targets=1200)
        exact = naive(kernel, np.full(1200, kernel.min()), budget)[0]
        reached, best = (
            (kernel[:, items].max(axis=1) - told.floor).sum() for items in (chosen, exact)
        )
        assert told.share <= reached / best + 0.003
        assert told.share > reached / best - 0.1
        assert told.low == told.share == told.high


def test_the_interval_of_a_sample_holds_the_share_of_all_targets():
    vectors = crowded(1500, seed=2)
    neighbours = build_neighbours(vectors, k=16)
    chosen = picks(neighbours, 15).items
    whole = expected_share(vectors, neighbours, chosen, targets=1500)
    parts = [expected_share(vectors, neighbours, chosen, targets=200, seed=s) for s in range(40)]
    held = sum(part.low - 0.003 <= whole.share <= part.high + 0.003 for part in parts)
    assert held >= 34
    assert len({part.share for part in parts}) > 30
    assert all(part.targets == 200 and part.high > part.low for part in parts)


def test_recall_counts_what_the_index_names_of_the_true_neighbours():
    vectors = crowded(1500)
    true = build_neighbours(vectors, k=16)
    few = build_neighbours(vectors, k=16, cells=30, probes=1)
    told = expected_share(vectors, few, np.arange(10), targets=1500)
    hit = (few.index[:, :, None] == true.index[:, None, :]).any(axis=2).mean()
    assert told.recall == pytest.approx(hit)
    assert told.recall < 1
    assert expected_share(vectors, true, np.arange(10)).recall == 1
    assert f"{hit:.1%} of the nearest" in told.line()
    assert told.facts()["targets"] == 1500


def test_everything_chosen_reaches_all_there_is():
    vectors = crowded(50)
    told = expected_share(vectors, build_neighbours(vectors, k=8), np.arange(50))
    assert (told.share, told.low, told.high) == (1, 1, 1)
    axis = np.tile(np.array([[1, 0]], np.float32), (5, 1))
    assert expected_share(axis, build_neighbours(axis, k=2), np.array([0])).share == 1
    with pytest.raises(ValueError, match="nothing is chosen"):
        expected_share(vectors, build_neighbours(vectors, k=8), np.zeros(0, np.int64))
