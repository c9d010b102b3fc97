"""The words say what the interval says, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.trial.statistics import paired
from influence_store.trial.verdict import verdict

ROW = np.random.default_rng(0).normal(0, 0.1, 40)


@pytest.mark.parametrize(
    ("shift", "kind", "begins"),
    [
        (+1.0, "beats", "beats random: +"),
        (-1.0, "loses", "loses to random: -"),
        (0.0, "no evidence", "no evidence that it beats random: "),
    ],
)
def test_the_interval_decides(shift, kind, begins):
    told = paired(np.stack([ROW + shift + 0.01 * k for k in range(3)]))
    found = verdict(told, "random", "nats per token")
    assert found.kind == kind
    assert found.words.startswith(begins)
    assert f"{told.mean:+.4f} nats per token [{told.low:+.4f}, {told.high:+.4f}]" in found.words


def test_two_runs_are_too_few_however_clear_they_look():
    told = paired(np.stack([ROW + 5, ROW + 5]))
    found = verdict(told, "random", "nats")
    assert found.kind == "too few"
    assert "too few seeds to tell whether it beats random: 2 of at least 3" in found.words


def test_where_nothing_is_random_one_run_is_enough():
    assert verdict(paired(ROW[None] + 5, fixed=True), "top", "nats", fixed=True).kind == "beats"


def test_few_held_out_rows_are_too_few():
    told = paired(np.ones((3, 9)) + np.arange(9))
    assert verdict(told, "random", "nats").words.endswith("9 of at least 10")


def test_equal_rows_are_not_compared():
    found = verdict(None, "top by mean", "nats")
    assert (found.kind, found.words) == (
        "same rows",
        "has the same rows as top by mean: there is nothing to compare",
    )
