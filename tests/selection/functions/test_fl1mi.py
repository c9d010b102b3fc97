from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView

KERNEL = ArrayView([[0.9, 0.1, 0.4], [0.2, 0.8, 0.5], [0.3, 0.6, 0.7]])
QUERIES = ArrayView([[0.5], [0.9], [0.2]])


@pytest.mark.parametrize(("items", "value"), [([0], 0.9), ([1], 1.1), ([2], 1.1), ([0, 1], 1.5)])
def test_worked_example(items, value):
    assert FL1MI(KERNEL, QUERIES).value(np.array(items)) == pytest.approx(value, abs=1e-6)


def test_it_is_what_selection_and_queries_cover_together():
    # f(A) + f(Q) − f(A ∪ Q), with the queries as columns 8 and 9 of one kernel.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pool, queries = rng.random((7, 8)), rng.random((7, 2))
        f = FacilityLocation(ArrayView(np.hstack([pool, queries])), 0.0)
        items, asked = rng.choice(8, 3, replace=False), np.array([8, 9])
        shared = f.value(items) + f.value(asked) - f.value(np.append(items, asked))
        mutual = FL1MI(ArrayView(pool), ArrayView(queries)).value(items)
        assert mutual == pytest.approx(shared, abs=1e-12)


def test_it_saturates_once_the_queries_are_covered():
    chosen = LazyGreedy().maximize(FL1MI(KERNEL, ArrayView([[0.1], [0.2], [0.1]])), 3)
    assert chosen.gains == pytest.approx([0.4, 0.0, 0.0], abs=1e-6)


def test_a_negative_value_of_either_kernel_is_refused():
    for pool, queries in (([[-0.5, 0.1]], [[0.2]]), ([[0.5, 0.1]], [[-0.5]])):
        with pytest.raises(ValueError, match=r"FL1MI needs values ≥ 0 and the smallest is -0\.5"):
            FL1MI(ArrayView(pool), ArrayView(queries))


def test_queries_over_other_targets_are_refused():
    with pytest.raises(ValueError, match="3 targets and the query kernel 2"):
        FL1MI(KERNEL, ArrayView(np.zeros((2, 4))))
