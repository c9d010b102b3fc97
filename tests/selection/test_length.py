from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.selection.length import length_matched, longest
from influence_store.selection.random_choice import random_choice

N = 2000
IDS = [k.to_bytes(16, "big") for k in range(N)]
RNG = np.random.default_rng(0)
LENGTHS = RNG.lognormal(5, 1, N).astype(int)


def matched(budget, like, lengths=LENGTHS, **options):
    ids = IDS[: len(lengths)]
    return length_matched(budget, lengths=lengths, like=like, ids=ids, **{"seed": 0, **options})


def test_each_range_gets_its_share_exactly_where_the_pool_has_enough():
    like = RNG.choice(np.sort(LENGTHS)[600:1400], 400, replace=False)
    picks = matched(200, like)
    edges = np.quantile(np.log1p(like), np.arange(1, 20) / 20, method="averaged_inverted_cdf")
    wanted = np.bincount(np.searchsorted(edges, np.log1p(like), side="right"))
    found = np.bincount(np.searchsorted(edges, np.log1p(LENGTHS[picks.items]), side="right"))
    assert picks.facts["filled"] == 0
    assert len(found) == len(wanted) == 20
    assert np.abs(found - wanted / 2).max() < 1
    assert like.min() <= LENGTHS[picks.items].min()
    assert LENGTHS[picks.items].max() <= like.max()


def test_lengths_of_the_long_fifth_are_matched_though_random_is_far_from_them():
    like = RNG.choice(np.sort(LENGTHS)[-400:], 100, replace=False)
    picks = matched(100, like)
    by_chance = random_choice(100, ids=IDS, seed=0)
    far = np.abs(np.sort(np.log1p(LENGTHS[by_chance.items])) - np.sort(np.log1p(like))).mean()
    assert picks.facts["log_gap"] < 0.03 < 1 < far


def test_the_gap_is_the_mean_difference_of_sorted_logarithms():
    like = np.random.default_rng(1).integers(1, 900, 150)
    picks = matched(150, like)
    by_hand = np.abs(np.sort(np.log1p(LENGTHS[picks.items])) - np.sort(np.log1p(like))).mean()
    assert picks.facts["log_gap"] == pytest.approx(by_hand)


def test_a_set_of_the_pool_is_matched_by_others_not_by_itself():
    mine = np.random.default_rng(2).choice(N, 200, replace=False)
    picks = matched(200, LENGTHS[mine])
    assert len(set(picks.items.tolist())) == 200
    assert len(np.intersect1d(mine, picks.items)) < 60
    assert picks.facts["log_gap"] < 0.1


def test_where_the_pool_is_too_small_the_nearest_lengths_step_in_and_are_counted():
    lengths = np.array([10] * 50 + [90, 100, 110, 5000])
    picks = matched(10, np.array([10] * 5 + [100] * 5), lengths)
    found = np.sort(lengths[picks.items])
    assert found.tolist() == [10] * 7 + [90, 100, 110]
    assert picks.facts["filled"] == 4
    assert picks.facts["log_gap"] > 0.1


def test_the_whole_budget_is_spent_also_when_everything_must_be_taken():
    picks = matched(54, np.array([1, 2, 3]), np.arange(54))
    assert sorted(picks.items.tolist()) == list(range(54))


def test_the_choice_follows_content_and_seed_and_not_storage():
    like, order = LENGTHS[:100], np.random.default_rng(3).permutation(N)
    one = matched(80, like)
    ids = [IDS[k] for k in order]
    shuffled = length_matched(80, lengths=LENGTHS[order], like=like, ids=ids, seed=0)
    np.testing.assert_array_equal(order[shuffled.items], one.items)
    assert matched(80, like, seed=1).items.tolist() != one.items.tolist()


def test_lengths_are_not_sorted_into_the_order_of_the_picks():
    picks = matched(300, LENGTHS)
    half = np.log1p(LENGTHS[picks.items])
    assert abs(half[:150].mean() - half[150:].mean()) < 0.4


def test_longest_takes_the_longest_and_ties_by_position():
    picks = longest(3, lengths=[5, 9, 5, 7, 9])
    assert picks.items.tolist() == [1, 4, 3]
    assert picks.gains.tolist() == [9, 9, 7]
    assert (picks.facts["selector"], picks.facts["gain"]) == ("longest", "length")


def test_facts_are_json():
    assert json.loads(json.dumps(matched(20, LENGTHS[:5]).facts))["n"] == N


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="no length to resemble"):
        matched(5, [])
    with pytest.raises(ValueError, match="negative or NaN"):
        matched(5, [1.0, np.nan])
    with pytest.raises(ValueError, match="n_bins is 0"):
        matched(5, LENGTHS, n_bins=0)
    with pytest.raises(UsageError, match="2000 can be chosen"):
        matched(N + 1, LENGTHS)
