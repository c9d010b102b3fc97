"""What every selector of the registry promises, asked of each by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.selection import SELECTORS
from influence_store.selection.picks import inputs_of

N = 60
RNG = np.random.default_rng(0)
# Distinct scores and distances, so that no tie depends on the order of storage.
COLUMNS = {
    "ids": np.array([RNG.bytes(16) for _ in range(N)], object),
    "vectors": RNG.normal(size=(N, 4)).astype(np.float32),
    "scores": RNG.permutation(N) / N,
    "lengths": RNG.permutation(N) + 1,
}
OTHERS = {"like": np.arange(10, 40), "seed": 3}


@pytest.fixture(params=sorted(SELECTORS.builtin))
def selector(request):
    return SELECTORS.get(request.param)


def call(selector, budget, order=slice(None)):
    offered = {name: column[order] for name, column in COLUMNS.items()} | OTHERS
    return selector(budget, **{name: offered[name] for name in inputs_of(selector)})


def test_picks_are_distinct_positions_with_a_gain_each(selector):
    picks = call(selector, 20)
    assert picks.items.dtype == np.int64
    assert len(np.unique(picks.items)) == len(picks.gains) == 20
    assert picks.items.min() >= 0
    assert picks.items.max() < N


def test_facts_are_json_and_name_the_selector(selector):
    facts = json.loads(json.dumps(call(selector, 5).facts))
    assert SELECTORS.get(facts["selector"]) is selector
    assert facts["n"] == N
    assert "gain" in facts
    assert ("seed" in facts) == ("seed" in inputs_of(selector))


def test_the_order_of_storage_changes_no_pick(selector):
    order = np.random.default_rng(1).permutation(N)
    picks, shuffled = call(selector, 20), call(selector, 20, order)
    np.testing.assert_array_equal(order[shuffled.items], picks.items)
    np.testing.assert_allclose(shuffled.gains, picks.gains)


def test_the_same_call_gives_the_same_picks(selector):
    one, again = call(selector, 20), call(selector, 20)
    np.testing.assert_array_equal(one.items, again.items)


@pytest.mark.parametrize("budget", [0, N + 1])
def test_an_impossible_budget_is_refused_before_any_work(selector, budget):
    with pytest.raises(UsageError, match=f"budget.* {budget}"):
        call(selector, budget)
