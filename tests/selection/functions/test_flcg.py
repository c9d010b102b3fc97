from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.views import ArrayView

KERNEL = ArrayView([[0.9, 0.1, 0.4], [0.2, 0.8, 0.5], [0.3, 0.6, 0.7]])
GIVEN = ArrayView([[0.5], [0.1], [0.6]])


@pytest.mark.parametrize(("items", "value"), [([0], 0.5), ([1], 0.7), ([2], 0.5), ([0, 1], 1.1)])
def test_worked_example(items, value):
    assert FLCG(KERNEL, GIVEN).value(np.array(items)) == pytest.approx(value, abs=1e-6)


def test_it_is_the_gain_of_facility_location_over_what_is_given():
    # f(A ∪ P) − f(P), with the given sources as columns 8, 9 and 10 of one kernel.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pool, given = rng.normal(size=(7, 8)), rng.normal(size=(7, 3))
        joint = ArrayView(np.hstack([pool, given]))
        f = FacilityLocation(joint, float(joint.matrix.min()))
        items, known = rng.choice(8, 3, replace=False), np.array([8, 9, 10])
        conditional = FLCG(ArrayView(pool), ArrayView(given)).value(items)
        gain = f.value(np.append(items, known)) - f.value(known)
        assert conditional == pytest.approx(gain, abs=1e-12)


def test_what_is_given_already_gains_nothing():
    function = FLCG(KERNEL, KERNEL)
    assert (function.gains(function.empty(), np.arange(3)) == 0).all()


def test_nu_of_zero_is_facility_location_from_zero():
    items = np.array([0, 2])
    assert FLCG(KERNEL, GIVEN, nu=0.0).value(items) == FacilityLocation(KERNEL, 0.0).value(items)


def test_a_larger_nu_asks_for_more():
    values = [FLCG(KERNEL, GIVEN, nu=nu).value(np.array([1, 2])) for nu in (0.5, 1.0, 1.5)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2]


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="3 targets and the given kernel 2; expected the same"):
        FLCG(KERNEL, ArrayView(np.zeros((2, 4))))


def test_nothing_given_is_refused():
    with pytest.raises(ValueError, match="3 targets × 0 sources"):
        FLCG(KERNEL, ArrayView(np.zeros((3, 0))))


def test_a_missing_given_value_is_refused():
    with pytest.raises(ValueError, match="given kernel has values that are not finite"):
        FLCG(KERNEL, ArrayView([[0.5], [np.nan], [0.6]]))


def test_nu_is_a_finite_weight():
    with pytest.raises(ValueError, match=r"nu is -1.*expected a finite number ≥ 0"):
        FLCG(KERNEL, GIVEN, nu=-1)
