from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.errors import UsageError
from influence_store.selection.curve_plot import curve_plot
from influence_store.selection.knee import BEND, knee

falling = st.lists(st.integers(0, 50), min_size=1, max_size=40).map(
    lambda found: np.array(sorted(found, reverse=True), np.float64)
)


def height_above_chord(gains, costs, k):
    """Of the k-th point, exactly: the rise of the curve minus that of its chord, in parts."""
    value = [sum(map(Fraction, gains[: i + 1])) for i in range(len(gains))]
    cost = [sum(map(Fraction, costs[: i + 1])) for i in range(len(gains))]
    run, rise = cost[-1] - cost[0], value[-1] - value[0]
    if run == 0 or rise == 0:
        return Fraction(0)
    return (value[k] - value[0]) / rise - (cost[k] - cost[0]) / run


def test_two_straight_lines_meet_at_the_knee():
    found = knee(np.array([10.0] * 20 + [1.0] * 80))
    assert found.n == 20
    assert found.share == 200 / 280


def test_what_gains_nothing_lies_behind_the_knee():
    found = knee(np.array([5.0] * 10 + [0.0] * 90))
    assert found.n == 10
    assert found.share == 1


@given(falling, st.data())
def test_the_knee_is_the_first_point_farthest_above_the_chord(gains, data):
    costs = data.draw(
        st.lists(st.integers(1, 9), min_size=len(gains), max_size=len(gains)).map(np.array)
    )
    heights = [height_above_chord(gains, costs, k) for k in range(len(gains))]
    found = knee(gains, costs)
    assert found.bend == pytest.approx(float(max(heights)), abs=1e-12)
    if found.n is not None:
        assert found.n == heights.index(max(heights)) + 1


@given(falling, st.integers(1, 10_000))
def test_the_first_gain_does_not_move_the_knee(gains, floor):
    # Another floor of facility location changes that gain and no other.
    raised = gains.copy()
    raised[0] += floor
    assert knee(raised).n == knee(gains).n


@given(falling, st.sampled_from([0.125, 4.0, 1024.0]))
def test_units_do_not_move_the_knee(gains, unit):
    assert knee(gains * unit).n == knee(gains).n == knee(gains, np.full(len(gains), unit)).n


def test_costs_move_the_knee_to_where_the_money_ends():
    gains = np.ones(10)
    costs = np.array([1.0] * 6 + [20.0] * 4)
    assert knee(gains).n is None
    assert knee(gains, costs).n == 6


@pytest.mark.parametrize(
    "gains",
    [
        [4.0],
        [9.0, 1.0],
        [9.0, 1.0, 0.5],
        [2.0] * 50,
        [0.0] * 5,
        np.linspace(1.0, 0.95, 200),
        [0.1] * 1000,
        [-1.0, -2.0, -3.0, -4.0],
    ],
    ids=["one", "two", "three", "straight", "nothing", "bent too little", "tenths", "losses"],
)
def test_a_curve_without_a_knee_says_so(gains):
    found = knee(np.asarray(gains))
    assert found.n is None
    assert found.share == 1
    assert found.facts()["n"] is None
    assert found.lines()[-1].startswith("no knee")
    with pytest.raises(UsageError, match="has no knee"):
        found.count()


def test_the_bend_of_a_parabola_is_a_quarter():
    # y = 2x − x² lies x − x² above its chord: at most 1/4, at x = 1/2.
    n = 1001
    found = knee(np.append(0.0, -np.diff((1 - np.linspace(0, 1, n)) ** 2)))
    assert found.bend == pytest.approx(0.25, abs=1e-6)
    assert found.n == pytest.approx(n / 2, abs=2)


def test_a_bend_counts_from_the_limit_on():
    # Two straight lines that meet in the middle at this height above the chord.
    n = 2001
    for height, found in [(BEND + 0.001, True), (BEND - 0.001, False)]:
        curve = np.interp(np.arange(n), [0, n // 2, n - 1], [0, 0.5 + height, 1])
        assert (knee(np.diff(curve, prepend=0)).n is not None) == found


def test_a_shorter_order_has_no_later_knee():
    gains = 1 / np.arange(1.0, 2001.0)
    knees = [knee(gains[:n]).n for n in (50, 200, 1000, 2000)]
    assert knees == sorted(knees)
    assert knees[0] < knees[-1]


def test_picks_that_lose_are_left_out():
    without = knee(np.array([10.0] * 20 + [1.0] * 80))
    with_losses = knee(np.array([10.0] * 20 + [1.0] * 80 + [-0.5] * 300))
    assert with_losses.n == without.n
    assert len(with_losses.costs) == 100


@pytest.mark.parametrize(
    ("gains", "costs"),
    [
        ([], None),
        ([1.0, np.nan], None),
        ([1.0, 1.0], [1.0]),
        ([1.0, 1.0], [1.0, 0.0]),
        ([1.0, 1.0], [1.0, np.inf]),
    ],
)
def test_what_is_no_curve_is_refused(gains, costs):
    with pytest.raises(ValueError, match=r"expected|must be"):
        knee(np.array(gains, np.float64), None if costs is None else np.array(costs))


def test_the_facts_hold_a_thinned_curve_with_ends_and_knee():
    gains = np.array([7.0] * 333 + [0.5] * 9_667)
    facts = knee(gains).facts()
    picks = [point[0] for point in facts["curve"]]
    assert picks[0] == 1
    assert picks[-1] == 10_000
    assert facts["n"] == 333
    assert 333 in picks
    assert len(picks) <= 61
    assert picks == sorted(set(picks))
    shares = {k: np.cumsum(gains)[k - 1] / gains.sum() for k in picks}
    assert all(share == pytest.approx(shares[k]) for k, _, share in facts["curve"])


def test_the_plot_shows_the_knee_where_it_is():
    found = knee(np.array([10.0] * 25 + [0.0] * 75))
    lines = found.lines("tokens")
    assert len(lines) == 15
    assert all(len(line) <= 67 and line.isascii() for line in lines)
    marked = [line for line in lines[1:12] if "O" in line]
    assert marked == [lines[1]]
    # Column 0 is nothing and column 59 everything: a quarter is column 15.
    assert marked[0].index("O") - len("100% |") == 15
    assert lines[-2].endswith("100 tokens")
    assert lines[-1] == "knee: 25 of 100 tokens hold 100.0%"


def test_every_column_of_the_plot_stands_as_high_as_the_curve_is_there():
    x, y = np.array([10.0, 20.0, 40.0]), np.array([0.2, 0.5, 1.0])
    rows = [line[6:].ljust(60) for line in curve_plot(x, y, x_label="x", y_label="y")[1:12]]
    for column in range(60):
        at = column * 40 / 59
        expected = y[x <= at + 1e-9]
        drawn = [1 - k / 10 for k in range(11) if rows[k][column] == "*"]
        if len(expected):
            assert expected[-1] == pytest.approx(min(drawn))
        else:
            assert all(d == pytest.approx(0.2) for d in drawn)


def test_an_empty_curve_cannot_be_drawn():
    with pytest.raises(ValueError, match="without points"):
        curve_plot(np.zeros(0), np.zeros(0), x_label="x", y_label="y")
