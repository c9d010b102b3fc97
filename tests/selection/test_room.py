"""The rule of joining: a source may join exactly if an allowed set can still come of it."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limited_sets import allowed_sets, random_limits

from influence_store.errors import UsageError
from influence_store.selection.limits import Limits
from influence_store.selection.room import fits, room_of, take


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), everything=st.booleans())
def test_a_source_may_join_exactly_if_an_allowed_set_can_come_of_it(seed, n, everything):
    rng = np.random.default_rng(seed)
    kinds = {"costs": True, "groups": True} if everything else {}
    limits = random_limits(rng, n, start=True, barred=True, **kinds)
    sets = allowed_sets(limits, n)
    try:
        room = room_of(limits, n)
    except UsageError:
        assert sets in ([], [set()])
        return
    chosen = set(limits.start.tolist())
    while True:
        expected = [any(chosen | {j} <= one for one in sets) for j in range(n)]
        left = [j for j in range(n) if j not in chosen]
        may = fits(room, np.arange(n))
        assert may[left].tolist() == [expected[j] for j in left]
        assert not may[sorted(chosen)].any()
        if not may.any():
            break
        joins = int(rng.choice(np.flatnonzero(may)))
        take(room, joins)
        chosen.add(joins)
    assert chosen in sets


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_compiled_rule_is_the_same_rule(seed):
    rng = np.random.default_rng(seed)
    limits = random_limits(rng, 9, costs=True, groups=True, barred=True)
    try:
        plain, compiled = room_of(limits, 9), room_of(limits, 9)
    except UsageError:
        return
    for source in rng.permutation(9).tolist():
        may = bool(fits(plain, source))
        assert bool(_compiled_fits(compiled, source)) == may
        if may:
            take(plain, source)
            _compiled_take(compiled, source)
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(one, other)


_compiled_fits = numba.njit(nogil=True, error_model="numpy")(fits)
_compiled_take = numba.njit(nogil=True, error_model="numpy")(take)


def test_money_is_kept_for_the_cheapest_sources_that_meet_a_floor():
    groups, costs = np.array([0, 0, 1, 1, 1]), np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    limits = Limits(4, costs=costs, most=10.0, groups=groups, floors=np.array([0, 2]))
    room = room_of(limits, 5)
    # 2 + 3 are set aside, 5 are free.
    assert fits(room, np.arange(5)).tolist() == [True] * 5
    take(room, 0)
    assert fits(room, np.arange(5)).tolist() == [False, False, False, True, True]
    # The cheaper of the two joins: 3 are still set aside, and nothing became free.
    take(room, 3)
    assert fits(room, np.arange(5)).tolist() == [False, False, False, False, True]


def test_a_room_is_its_own():
    limits = Limits(2, barred=np.zeros(3, np.bool_), costs=np.ones(3), most=2.0)
    take(room_of(limits, 3), 0)
    assert room_of(limits, 3).open.all()
    assert not limits.barred.any()


def test_a_start_that_uses_up_everything_is_no_mistake():
    room = room_of(Limits(2, costs=np.full(4, 3.0), most=6.0, start=np.array([3, 1])), 4)
    assert not fits(room, np.arange(4)).any()


def test_nothing_may_be_picked_where_everything_is_barred():
    room = room_of(Limits(1, barred=np.ones(3, np.bool_), costs=np.ones(3), most=1.0), 3)
    assert not fits(room, np.arange(3)).any()


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_a_budget_alone_counts_seats(budget):
    room = room_of(Limits(budget), 3)
    for source in range(budget):
        assert fits(room, source)
        take(room, source)
    assert not fits(room, np.arange(3)).any()
