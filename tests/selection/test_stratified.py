from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.errors import UsageError
from influence_store.selection.stratified import allot, stratified


def ids_of(n):
    return [k.to_bytes(16, "big") for k in range(n)]


def levels(budget, scores, **options):
    scores = np.asarray(scores, np.float64)
    return stratified(budget, scores=scores, ids=ids_of(len(scores)), **{"seed": 0, **options})


# Bins of equal width over [0, 3]: one score in the first, four in the second, ten in the last.
SCORES = [0.0, *np.linspace(1.1, 1.9, 4), *np.linspace(2.1, 3.0, 10)]


def test_bins_of_1_4_and_10_share_a_budget_of_9_as_1_4_and_4():
    assert allot(9, np.array([1, 4, 10])).tolist() == [1, 4, 4]
    assert allot(9, np.array([10, 1, 4])).tolist() == [4, 1, 4]
    picks = levels(9, SCORES, hard_prune=0.0, n_bins=3)
    assert picks.facts["bin_sizes"] == [1, 4, 10]
    assert picks.facts["bin_picks"] == [1, 4, 4]
    assert np.searchsorted([1, 2], picks.gains, side="right").tolist() == [0] + [1] * 4 + [2] * 4


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 200))
def test_the_whole_budget_is_spent_and_no_bin_overdrawn(sizes, budget):
    taken = allot(budget, np.array(sizes))
    assert (taken <= sizes).all()
    assert taken.sum() == min(budget, sum(sizes))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(12, 200))
def test_a_bin_that_keeps_some_gave_at_most_one_less_than_any_other(sizes, budget):
    taken = allot(budget, np.array(sizes))
    kept = taken < sizes
    if kept.any():
        assert taken[kept].min() >= taken.max() - 1


def test_the_top_tenth_is_pruned_from_the_hard_end():
    scores = np.arange(100.0)
    assert set(levels(90, scores).items) == set(range(90))
    assert set(levels(90, scores, lowest=True).items) == set(range(10, 100))
    with pytest.raises(UsageError, match=r"90 can be chosen \(10 in the dropped tail\)"):
        levels(91, scores)


def test_one_outlier_squeezes_equal_widths_and_not_quantiles():
    scores = np.append(np.random.default_rng(0).random(999), 1e6)
    wide = levels(100, scores, hard_prune=0.0, n_bins=10)
    even = levels(100, scores, hard_prune=0.0, n_bins=10, quantiles=True)
    assert wide.facts["bin_sizes"] == [999, *[0] * 8, 1]
    assert even.facts["bin_sizes"] == [100] * 10
    assert even.facts["bin_picks"] == [10] * 10


def test_a_sample_without_a_score_is_never_chosen_and_counted():
    scores = np.arange(50.0)
    scores[::5] = np.nan
    picks = levels(36, scores)
    assert not np.isnan(picks.gains).any()
    assert picks.facts["dropped"]["without a score"] == 10
    assert picks.facts["dropped"]["in the dropped tail"] == 4


def test_draws_are_uniform_within_a_bin():
    counts = np.zeros(15)
    for seed in range(1500):
        counts[levels(9, SCORES, hard_prune=0.0, n_bins=3, seed=seed).items] += 1
    assert (counts[:5] == 1500).all()
    # Binomial(1500, 0.4): standard deviation 19.
    assert np.abs(counts[5:] - 600).max() < 5 * 19


def test_the_draw_follows_the_content_and_not_the_storage():
    scores = np.random.default_rng(1).normal(size=60)
    ids, order = ids_of(60), np.random.default_rng(2).permutation(60)
    one = stratified(20, scores=scores, ids=ids, seed=4, n_bins=5)
    shuffled = stratified(20, scores=scores[order], ids=[ids[k] for k in order], seed=4, n_bins=5)
    np.testing.assert_array_equal(order[shuffled.items], one.items)


@pytest.mark.parametrize("quantiles", [False, True])
def test_equal_or_infinite_scores_find_a_bin(quantiles):
    for scores in (np.ones(20), np.full(20, np.inf), np.append(np.arange(19.0), np.inf)):
        picks = levels(15, scores, hard_prune=0.0, n_bins=4, quantiles=quantiles)
        assert len(np.unique(picks.items)) == 15
        assert sum(picks.facts["bin_sizes"]) == 20


def test_facts_are_json():
    facts = json.loads(json.dumps(levels(9, SCORES).facts))
    assert (facts["n"], facts["bins"], len(facts["bin_sizes"])) == (15, "equal-width", 50)


def test_no_bin_is_refused():
    with pytest.raises(ValueError, match="expected at least 1"):
        levels(3, SCORES, n_bins=0)
