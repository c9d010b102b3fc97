from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.errors import UsageError
from influence_store.selection.k_center import k_center


def ids_of(n):
    return [k.to_bytes(16, "big") for k in range(n)]


def farthest(points, budget, **options):
    points = np.asarray(points, np.float32)
    return k_center(budget, vectors=points, ids=ids_of(len(points)), seed=0, **options)


def brute_force(points, budget, start):
    """The definition: the whole distance matrix at every step, no expansion of squares."""
    points = np.asarray(points, np.float64)
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    chosen, gains = list(start), []
    for _ in range(budget):
        nearest = distances[:, chosen].min(axis=1)
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        gains.append(nearest[chosen[-1]])
    return chosen[len(start) :], gains, distances[:, chosen].min(axis=1).max()


def radius(points, centres):
    points = np.asarray(points, np.float64)
    return np.linalg.norm(points[:, None] - points[list(centres)][None], axis=-1).min(1).max()


LINE = [[0.0], [1.0], [5.0], [9.0], [10.0]]


def test_the_point_farthest_from_0_is_10_and_then_comes_5():
    picks = farthest(LINE, 2, start=np.array([0]))
    assert picks.items.tolist() == [4, 2]
    assert picks.gains.tolist() == [10.0, 5.0]
    assert picks.facts["radius"] == 1.0


def test_equally_far_points_are_picked_by_lowest_position():
    square = [[0, 0], [1, 1], [-1, 1], [1, -1], [-1, -1]]
    assert farthest(square, 2, start=np.array([0])).items.tolist() == [1, 2]
    duplicates = np.zeros((300, 2))
    assert farthest(duplicates, 5, start=np.array([7])).items.tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=3, max_size=10),
    st.integers(1, 3),
)
def test_the_greedy_radius_is_at_most_twice_the_best_one(points, budget):
    budget = min(budget, len(points))
    picks = farthest(points, budget)
    assert picks.facts["radius"] == pytest.approx(radius(points, picks.items))
    best = min(radius(points, some) for some in combinations(range(len(points)), budget))
    assert picks.facts["radius"] <= 2 * best + 1e-6


@pytest.mark.parametrize("n_start", [1, 30])
def test_lazy_distances_give_the_picks_of_the_definition(n_start):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8, 9))[rng.integers(8, size=900)] + rng.normal(size=(900, 9))
    points = points.astype(np.float32)
    points[600:700] = points[:100]
    start = np.sort(rng.choice(900, n_start, replace=False))
    items, gains, last = brute_force(points, 200, start)
    picks = farthest(points, 200, start=start)
    assert picks.items.tolist() == items
    np.testing.assert_allclose(picks.gains, gains, rtol=1e-6)
    assert picks.facts["radius"] == pytest.approx(last, rel=1e-6)


def test_gains_are_the_covering_radii_before_the_pick():
    points = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    picks = farthest(points, 10)
    for k in range(1, 10):
        assert picks.gains[k] == pytest.approx(radius(points, picks.items[:k]), rel=1e-6)
    assert picks.facts["radius"] == pytest.approx(radius(points, picks.items), rel=1e-6)


def test_copies_far_from_the_origin_are_at_distance_zero_not_nan():
    point = np.random.default_rng(2).normal(size=384) * 1e3
    picks = farthest(np.repeat(point[None], 50, axis=0), 50, start=None)
    assert np.isnan(picks.gains[0])
    np.testing.assert_array_equal(picks.gains[1:], 0.0)
    assert picks.facts["radius"] == 0.0


def test_every_prefix_is_the_choice_for_a_smaller_budget():
    points = np.random.default_rng(3).normal(size=(60, 4))
    np.testing.assert_array_equal(farthest(points, 20).items[:7], farthest(points, 7).items)


def test_the_random_start_follows_the_content_and_the_seed():
    points = np.random.default_rng(4).normal(size=(50, 3)).astype(np.float32)
    ids, order = ids_of(50), np.random.default_rng(5).permutation(50)
    one = k_center(9, vectors=points, ids=ids, seed=1)
    shuffled = k_center(9, vectors=points[order], ids=[ids[k] for k in order], seed=1)
    np.testing.assert_array_equal(order[shuffled.items], one.items)
    firsts = {int(k_center(1, vectors=points, ids=ids, seed=s).items[0]) for s in range(20)}
    assert len(firsts) > 5


def test_rounds_continued_from_what_was_chosen_equal_one_long_call():
    points = np.random.default_rng(6).normal(size=(80, 5))
    whole = farthest(points, 30)
    later = farthest(points, 20, start=whole.items[:10])
    np.testing.assert_array_equal(later.items, whole.items[10:])
    np.testing.assert_array_equal(later.gains, whole.gains[10:])


def test_rows_without_a_vector_are_never_picked_and_counted():
    points = np.random.default_rng(7).normal(size=(20, 3))
    points[[0, 3, 11], 1] = np.nan
    picks = farthest(points, 17)
    assert set(picks.items) == set(range(20)) - {0, 3, 11}
    assert picks.facts["dropped"] == {"without a vector": 3, "in `start`": 0}
    with pytest.raises(UsageError, match=r"17 can be chosen \(3 without a vector\)"):
        farthest(points, 18)
    with pytest.raises(ValueError, match="1 samples of start have no vector"):
        farthest(points, 2, start=np.array([3, 4]))


def test_the_cosine_metric_sees_directions_only():
    points = [[1, 0], [100, 0], [0, 0.01], [0, 0]]
    picks = farthest(points, 1, start=np.array([0]), metric="cosine")
    assert picks.items.tolist() == [2]
    assert picks.gains[0] == pytest.approx(np.sqrt(2))
    assert picks.facts["dropped"]["without a vector"] == 1
    assert farthest(points, 1, start=np.array([0])).items.tolist() == [1]


def test_centring_turns_the_cosine_and_leaves_the_distance():
    points = np.random.default_rng(8).normal(size=(60, 6)) + 30.0
    plain, centred = farthest(points, 12), farthest(points, 12, standardise="centre")
    np.testing.assert_array_equal(plain.items, centred.items)
    raw = farthest(points, 12, metric="cosine")
    turned = farthest(points, 12, metric="cosine", standardise="centre")
    by_hand = farthest(points - points.mean(0), 12, metric="cosine")
    np.testing.assert_array_equal(turned.items, by_hand.items)
    assert turned.items.tolist() != raw.items.tolist()


def test_whitened_distances_are_those_of_mahalanobis():
    rng = np.random.default_rng(9)
    points = rng.normal(size=(200, 4)) @ np.diag([1, 10, 100, 0]) + 5.0
    points[:, 3] = 5.0
    points = points.astype(np.float32)
    picks = farthest(points, 5, start=np.array([17]), standardise="whiten")
    exact = points[:, :3].astype(np.float64)
    apart = exact - exact[17]
    squares = (apart @ np.linalg.inv(np.cov(exact.T, bias=True)) * apart).sum(1)
    assert picks.items[0] == np.argmax(squares)
    assert picks.gains[0] == pytest.approx(np.sqrt(squares.max()), rel=1e-4)


def test_facts_are_json():
    facts = json.loads(json.dumps(farthest(LINE, 2).facts))
    assert (facts["n"], facts["seed"], facts["metric"]) == (5, 0, "euclidean")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metric": "manhattan"}, "expected one of euclidean, cosine"),
        ({"standardise": "zscore"}, "expected one of none, centre, whiten"),
        ({"start": np.array([5])}, "outside 0 to 4"),
    ],
)
def test_what_makes_no_sense_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        farthest(LINE, 1, **options)
