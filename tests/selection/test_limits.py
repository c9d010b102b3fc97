"""Limits that contradict themselves are refused at once, with what was found."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.selection.limits import Limits, limits_of
from influence_store.selection.room import room_of

N = 5
GROUPS = np.array([0, 0, 0, 1, 1])
COSTS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


def of(*numbers):
    return np.array(numbers)


def test_a_number_is_a_budget_and_nothing_else():
    limits = limits_of(3)
    assert (limits.budget, limits.costs, limits.groups, len(limits.start)) == (3, None, None, 0)
    assert limits_of(limits) is limits


def test_limits_that_agree_pass():
    Limits(
        4,
        costs=COSTS,
        most=12.0,
        groups=GROUPS,
        floors=of(1, 1),
        ceilings=of(2, 2),
        start=of(2, 0),
        barred=of(False, True, False, False, False),
    ).check(N)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(-1), "budget is -1; expected 0 to 5"),
        (Limits(6), "budget is 6; expected 0 to 5"),
        (Limits(2, costs=COSTS[:4]), r"costs are \(4,\); expected one for each of 5 sources"),
        (Limits(2, groups=GROUPS[:3]), r"groups are \(3,\)"),
        (Limits(2, barred=of(True)), r"barred are \(1,\)"),
        (Limits(2, barred=of(0, 0, 1, 0, 0)), "barred is of type int64; expected True or False"),
        (Limits(2, most=7.0), "more than 7, and no costs are given"),
        (Limits(2, costs=COSTS, most=float("nan")), "sum up to nan; expected a number ≥ 0"),
        (Limits(2, costs=COSTS, most=-1.0), "sum up to -1.0"),
        (Limits(2, costs=COSTS - 2), r"2 costs are not above 0, the first at position 0 \(-1\)"),
        (Limits(2, costs=np.full(N, np.inf)), "5 costs are not above 0"),
        (Limits(2, floors=of(1)), "floors and ceilings need groups"),
        (Limits(2, ceilings=of(1)), "floors and ceilings need groups"),
        (Limits(2, groups=GROUPS, floors=of(1)), "groups run from 0 to 1; expected 0 to 0"),
        (Limits(2, groups=GROUPS - 1), "groups run from -1 to 0"),
        (Limits(2, groups=GROUPS, floors=of(1, -1)), r"floors are \[1, -1\]; expected 2 numbers"),
        (
            Limits(2, groups=GROUPS, floors=of(1, 1), ceilings=of(1)),
            r"ceilings are \[1\]; expected 2 numbers",
        ),
        (
            Limits(2, groups=GROUPS, floors=of(0, 2), ceilings=of(1, 1)),
            "group 1 has the floor 2 above its ceiling 1",
        ),
        (
            Limits(5, groups=GROUPS, floors=of(0, 3), names=("mit", "apache")),
            "group 'apache' has the floor 3 and only 2 sources",
        ),
        (
            Limits(5, groups=GROUPS, floors=of(0, 2), barred=of(False, False, False, True, False)),
            "group 1 has the floor 2 and only 1 sources",
        ),
        (
            Limits(3, groups=GROUPS, floors=of(2, 2)),
            "the floors ask for 4 sources and the budget allows 3",
        ),
        (Limits(2, start=of(1, 1)), "start names a source twice"),
        (Limits(2, start=of(5)), "start holds positions outside 0 to 4"),
        (Limits(2, start=of(-1)), "start holds positions outside 0 to 4"),
        (
            Limits(2, start=of(0, 3), barred=GROUPS == 1),
            "1 sources of the start are barred, the first at position 3",
        ),
    ],
)
def test_a_contradiction_is_told(limits, told):
    with pytest.raises(UsageError, match=told):
        limits.check(N)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(1, start=of(4, 2)), r"pick 2 of the start \(position 2\) exceeds the budget"),
        (
            Limits(4, costs=COSTS, most=6.0, start=of(3, 2)),
            r"pick 2 of the start \(position 2\) costs 3 of the 2 that are left",
        ),
        (
            Limits(4, groups=GROUPS, ceilings=of(1, 2), start=of(0, 3, 1), names=("mit", "gpl")),
            r"pick 3 of the start \(position 1\) exceeds the ceiling of group 'mit'",
        ),
        (
            Limits(2, groups=GROUPS, floors=of(0, 1), start=of(0, 1)),
            r"pick 2 of the start \(position 1\) exceeds the budget, or takes a seat that a floor",
        ),
        (
            Limits(4, costs=COSTS, most=5.0, groups=GROUPS, floors=of(2, 1)),
            "meet the floors cost 7 and all may cost 5",
        ),
        (Limits(4, costs=COSTS, most=0.5), "the cheapest source costs 1 and all may cost 0.5"),
        (
            Limits(4, costs=COSTS, most=3.5, barred=COSTS < 4),
            "the cheapest source costs 4 and all may cost 3.5",
        ),
    ],
)
def test_what_leaves_no_room_is_told(limits, told):
    with pytest.raises(UsageError, match=told):
        room_of(limits, N)
