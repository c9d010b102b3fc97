from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.selection.top_scores import top_scores

NAN = float("nan")


def items(budget, scores, **options):
    return top_scores(budget, scores=scores, **options).items.tolist()


def test_best_first_and_ties_by_position():
    assert items(4, [0.5, 2.0, 0.5, 3.0, 0.5]) == [3, 1, 0, 2]
    assert items(3, [0.5, 2.0, 0.5, 3.0, 0.5], lowest=True) == [0, 2, 4]


def test_a_sample_without_a_score_is_never_chosen_and_counted():
    picks = top_scores(2, scores=[NAN, -5.0, NAN, -7.0])
    assert picks.items.tolist() == [1, 3]
    assert picks.facts["dropped"]["without a score"] == 2
    with pytest.raises(UsageError, match=r"2 can be chosen \(2 without a score\)"):
        top_scores(3, scores=[NAN, -5.0, NAN, -7.0])


def test_the_window_starts_below_the_dropped_tail():
    scores = np.arange(100.0)
    assert items(3, scores, drop_top=0.1) == [89, 88, 87]
    assert items(3, scores, drop_top=0.1, lowest=True) == [10, 11, 12]
    assert top_scores(3, scores=scores, drop_top=0.29).facts["dropped"]["in the dropped tail"] == 29


def test_the_tail_is_a_share_of_the_samples_that_have_a_score():
    scores = np.concatenate([np.full(90, NAN), np.arange(10.0)])
    assert items(1, scores, drop_top=0.2) == [97]


def test_limits_include_the_lower_and_exclude_the_upper_one():
    """IFD keeps high values below 1."""
    picks = top_scores(2, scores=[0.2, 1.0, 0.9, 1.5, 0.4], within=(0.4, 1.0))
    assert picks.items.tolist() == [2, 4]
    assert picks.facts["dropped"]["outside the limits"] == 3


def test_an_infinite_score_is_a_score():
    """Forgetting counts a sample that was never learned as infinite."""
    assert items(2, [1.0, np.inf, 3.0]) == [1, 2]
    assert items(1, [1.0, -np.inf, 3.0], lowest=True) == [1]


def test_gains_are_the_scores_and_facts_are_json():
    picks = top_scores(2, scores=[1.0, 4.0, 3.0])
    assert picks.gains.tolist() == [4.0, 3.0]
    assert json.loads(json.dumps(picks.facts))["within"] == [None, None]


@pytest.mark.parametrize("share", [-0.1, 1.0, NAN])
def test_a_tail_of_everything_is_refused(share):
    with pytest.raises(ValueError, match="expected a share"):
        top_scores(1, scores=[1.0], drop_top=share)
