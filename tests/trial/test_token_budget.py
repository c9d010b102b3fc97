"""Tokens and steps are equal between arms; rows and passes are not."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.trial.budget import Budget, schedule


@pytest.mark.parametrize("seed", range(5))
def test_arms_read_the_same_number_of_tokens_in_the_same_steps(seed):
    rng = np.random.default_rng(seed)
    arms = [rng.integers(5, 60, n) for n in (7, 40, 400)]
    budget = Budget.of(3_000, step_tokens=200, longest=60)
    read = [schedule(lengths, budget, seed) for lengths in arms]
    assert {len(one.steps) for one in read} == {15}
    for lengths, one in zip(arms, read, strict=True):
        assert one.tokens == lengths[one.reads].sum()
        assert abs(one.tokens - 3_000) <= lengths.max() / 2
        assert min(len(step) for step in one.steps) >= 1
        # No step is much larger than another: each ends with the sample that fills its share.
        sizes = np.array([lengths[step].sum() for step in one.steps])
        assert (np.abs(np.cumsum(sizes) - 200 * np.arange(1, 16)) <= lengths.max()).all()


def test_few_rows_are_read_again_in_another_order_and_many_in_part():
    budget = Budget.of(1_000, step_tokens=100, longest=10)
    few = schedule(np.full(20, 10), budget, 0)
    passes = few.reads.reshape(5, 20)
    assert (np.sort(passes, axis=1) == np.arange(20)).all()
    assert len({tuple(one) for one in passes.tolist()}) == 5
    many = schedule(np.full(500, 10), budget, 0)
    assert (many.rows_seen, len(many.reads), few.rows_seen) == (100, 100, 20)


def test_the_order_is_decided_by_the_seed():
    lengths, budget = np.full(30, 10), Budget.of(300, step_tokens=50, longest=10)
    first, again, other = (schedule(lengths, budget, seed).reads for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert (np.sort(first) == np.arange(30)).all()


def test_no_step_is_smaller_than_the_longest_sample():
    assert Budget.of(1_000, step_tokens=10, longest=250).steps == 4
    assert Budget.of(90, step_tokens=500, longest=90).steps == 1
    with pytest.raises(UsageError, match="does not hold the longest sample, 91"):
        Budget.of(90, step_tokens=500, longest=91)


def test_rows_that_do_not_fit_a_step_are_refused():
    budget = Budget.of(100, step_tokens=50, longest=50)
    for lengths in ([], [0, 3], [51, 3]):
        with pytest.raises(ValueError, match="do not fit steps of 50 tokens"):
            schedule(np.array(lengths, np.int64), budget, 0)
