from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.schema.identity import content_order
from influence_store.selection.random_choice import random_choice

IDS = [bytes([k, 7, k]) for k in range(40)]


def chosen(ids, budget, seed):
    return [ids[k] for k in random_choice(budget, ids=ids, seed=seed).items]


def test_the_choice_does_not_depend_on_the_order_of_storage():
    shuffled = [IDS[k] for k in np.random.default_rng(0).permutation(40)]
    assert chosen(shuffled, 12, 3) == chosen(IDS, 12, 3)


def test_samples_that_leave_or_join_do_not_reorder_the_others():
    some = IDS[::3]
    whole = [one for one in chosen(IDS, 40, 1) if one in some]
    assert chosen(some, len(some), 1) == whole


def test_every_prefix_is_the_choice_for_a_smaller_budget():
    assert chosen(IDS, 30, 2)[:11] == chosen(IDS, 11, 2)


def test_every_sample_is_as_likely_as_any_other():
    counts = np.zeros(40)
    for seed in range(2000):
        counts[random_choice(10, ids=IDS, seed=seed).items] += 1
    # Binomial(2000, 1/4): standard deviation 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4
    assert np.var(counts) > 100


def test_order_is_a_permutation_and_seeds_differ():
    orders = [content_order(IDS, seed) for seed in (-1, 0, 1, 2**40)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_random_claims_no_gain():
    picks = random_choice(5, ids=IDS, seed=0)
    assert np.isnan(picks.gains).all()
    assert picks.facts == {"selector": "random", "gain": "none", "n": 40, "seed": 0}


@pytest.mark.parametrize(("budget", "told"), [(0, "at least 1"), (41, "of which 40 can be chosen")])
def test_an_impossible_budget_is_refused(budget, told):
    with pytest.raises(UsageError, match=told):
        random_choice(budget, ids=IDS, seed=0)
