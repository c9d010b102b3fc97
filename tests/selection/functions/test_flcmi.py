from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.functions.flcmi import FLCMI
from influence_store.selection.views import ArrayView

KERNEL = ArrayView([[0.9, 0.1, 0.4], [0.2, 0.8, 0.5], [0.3, 0.6, 0.7]])
QUERIES = ArrayView([[0.5], [0.9], [0.2]])
GIVEN = ArrayView([[0.4], [0.1], [0.6]])


@pytest.mark.parametrize(("items", "value"), [([0], 0.2), ([1], 0.7), ([2], 0.4), ([0, 1], 0.8)])
def test_worked_example(items, value):
    assert FLCMI(KERNEL, QUERIES, GIVEN).value(np.array(items)) == pytest.approx(value, abs=1e-6)


def test_it_is_what_selection_and_queries_share_beyond_what_is_given():
    # f(A ∪ P) + f(Q ∪ P) − f(A ∪ Q ∪ P) − f(P) over one kernel of all columns.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pool, queries, given = rng.random((7, 8)), rng.random((7, 2)), rng.random((7, 3))
        f = FacilityLocation(ArrayView(np.hstack([pool, queries, given])), 0.0)
        a, q, p = rng.choice(8, 3, replace=False), np.array([8, 9]), np.array([10, 11, 12])
        shared = (
            f.value(np.concatenate([a, p]))
            + f.value(np.concatenate([q, p]))
            - f.value(np.concatenate([a, q, p]))
            - f.value(p)
        )
        ours = FLCMI(ArrayView(pool), ArrayView(queries), ArrayView(given)).value(a)
        assert ours == pytest.approx(shared, abs=1e-12)


def test_with_nothing_of_use_given_it_is_fl1mi():
    items = np.array([0, 2])
    nothing = ArrayView(np.zeros((3, 1)))
    assert FLCMI(KERNEL, QUERIES, nothing).value(items) == FL1MI(KERNEL, QUERIES).value(items)


def test_with_queries_that_ask_for_everything_it_is_flcg():
    items = np.array([0, 2])
    asked = FLCMI(KERNEL, QUERIES, GIVEN, eta=100.0)
    assert asked.value(items) == FLCG(KERNEL, GIVEN).value(items)


def test_a_negative_value_of_any_kernel_is_refused():
    good, bad = [[0.5, 0.1]], [[0.5, -0.5]]
    for kernels in ((bad, good, good), (good, bad, good), (good, good, bad)):
        with pytest.raises(ValueError, match=r"FLCMI needs values ≥ 0 and the smallest is -0\.5"):
            FLCMI(*map(ArrayView, kernels))


def test_other_targets_are_refused_by_role():
    other = ArrayView(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="3 targets and the query kernel 2"):
        FLCMI(KERNEL, other, GIVEN)
    with pytest.raises(ValueError, match="3 targets and the given kernel 2"):
        FLCMI(KERNEL, QUERIES, other)
