"""The interval of a paired comparison: closed forms in the corners, its error rate in between."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from influence_store.trial.statistics import interval, paired


def drawn(rng, *, runs=3, samples=60, run=0.0, sample=0.0, rest=0.0, mean=0.0):
    """A table with the given standard deviations of run effects, sample effects and the rest."""
    return (
        mean
        + run * rng.normal(size=(runs, 1))
        + sample * rng.normal(size=(1, samples))
        + rest * rng.normal(size=(runs, samples))
    )


def ends(told):
    return told.low, told.high


def misses(table, **how):
    low, high, _ = interval(table, **how)
    return not low <= 0 <= high


def blindly_chosen(rng, *, runs, luck):
    """A selection that is one more random set: sets differ as a whole, and sample by sample."""
    sets = luck * rng.normal(size=(runs + 1, 1)) + 0.2 * rng.normal(size=(runs + 1, 60))
    trained = 0.05 * rng.normal(size=(2, runs, 1))
    return (sets[1:] + trained[0]) - (sets[:1] + trained[1])


def test_where_runs_are_alike_it_is_the_t_interval_over_samples():
    row = np.random.default_rng(0).normal(0.2, 1, 50)
    expected = stats.ttest_1samp(row, 0).confidence_interval()
    assert ends(paired(row[None], fixed=True)) == pytest.approx(tuple(expected))
    assert ends(paired(np.tile(row, (4, 1)))) == pytest.approx(tuple(expected))


def test_where_samples_are_alike_it_is_the_t_interval_over_runs():
    runs = np.array([0.1, 0.5, 0.3])
    expected = stats.ttest_1samp(runs, 0).confidence_interval()
    told = paired(np.tile(runs[:, None], (1, 40)))
    assert ends(told) == pytest.approx(tuple(expected))
    assert (told.degrees, told.runs_better) == (2, 3)


def test_the_variance_is_that_of_the_two_way_table():
    d = drawn(np.random.default_rng(1), runs=5, samples=30, run=1, sample=1, rest=0.5)
    told = paired(d)
    runs, samples = d.mean(1), d.mean(0)
    rest = d - runs[:, None] - samples[None] + d.mean()
    squares = 30 * runs.var(ddof=1) + 5 * samples.var(ddof=1) - (rest**2).sum() / (4 * 29)
    reach = stats.t.ppf(0.975, told.degrees) * np.sqrt(squares / 150)
    assert told.high - told.mean == pytest.approx(reach)
    assert 4 <= told.degrees <= 116


@pytest.mark.parametrize(
    "spread",
    [
        {"run": 0.0, "sample": 1.0, "rest": 1.0},
        {"run": 0.3, "sample": 1.0, "rest": 0.5},
        {"run": 1.0, "sample": 0.2, "rest": 0.5},
        {"run": 0.0, "sample": 0.0, "rest": 1.0},
    ],
)
def test_it_misses_the_truth_no_more_often_than_it_says(spread):
    rng = np.random.default_rng(2)
    rate = np.mean([misses(drawn(rng, **spread)) for _ in range(1_000)])
    # 5 % are allowed; three standard errors of a rate of 5 % in 1,000 draws are 2.1 %.
    assert rate <= 0.071


def test_samples_alone_would_promise_too_much():
    # The error that a test over samples makes when runs differ: it is what this module is for.
    rng = np.random.default_rng(3)
    tables = [drawn(rng, run=0.5, sample=0.5, rest=0.5) for _ in range(300)]
    naive = np.mean([misses(d.mean(0, keepdims=True).repeat(3, 0)) for d in tables])
    ours = np.mean([misses(d) for d in tables])
    assert naive > 0.4
    assert ours < 0.09


@pytest.mark.parametrize(("runs", "luck"), [(3, 0.1), (9, 0.1), (9, 0.02), (15, 0.5)])
def test_a_set_chosen_blindly_does_not_beat_random(runs, luck):
    rng = np.random.default_rng(5)
    tables = [blindly_chosen(rng, runs=runs, luck=luck) for _ in range(600)]
    rate = np.mean([misses(one, drawn=True) for one in tables])
    assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    if luck > 0.05 and runs > 3:
        # Two sets are compared, not two ways to choose: that promises too much.
        assert np.mean([misses(one) for one in tables]) > 0.25


def test_a_real_difference_is_found():
    rng = np.random.default_rng(4)
    tables = [drawn(rng, run=0.02, sample=0.3, rest=0.1, mean=0.3) for _ in range(50)]
    assert all(interval(one)[0] > 0 for one in tables)


def test_the_sign_test_is_exact_and_leaves_ties_out():
    d = np.array([[1.0, 2.0, 3.0, 0.0, -1.0, 5.0, 4.0]])
    told = paired(d, fixed=True)
    assert (told.better, told.worse, told.equal) == (5, 1, 1)
    assert told.p_sign == pytest.approx(stats.binomtest(5, 6).pvalue)
    assert paired(np.zeros((3, 4))).p_sign == 1.0


def test_what_one_run_cannot_tell_is_left_open():
    told = paired(np.ones((1, 20)))
    assert np.isnan([told.low, told.high]).all()
    assert told.facts()["low"] is None
    assert np.isnan(paired(np.ones((3, 1))).low)


def test_no_difference_at_all_has_no_width():
    told = paired(np.zeros((3, 20)))
    assert (told.mean, told.low, told.high) == (0, 0, 0)


def test_a_table_with_holes_is_refused():
    for bad in (np.zeros((0, 3)), np.zeros(3), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="runs × samples"):
            paired(bad)
