"""Selection on real LESS values of a real language model (see the data folder's README)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from influence_store.selection.baselines import compare, cosine_picks, normalised_gain, top_by_mean
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, CosineView, DenseView, SelfCovered

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def less():
    beside = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("INFLUENCE_STORE_TEST_DATA", beside)) / "labels" / "less_C.npz"
    if not path.exists():
        pytest.skip(f"no real labels at {path}")
    with np.load(path) as stored:
        return {name: stored[name].astype(np.float32) for name in ("less", "minilm")}


def test_lazy_greedy_is_naive_greedy_on_real_values_stored_in_half_precision(less):
    view = SelfCovered(ArrayView(less["less"]))
    function = FacilityLocation(view, lower_bound(view))
    lazy, naive = (kind.maximize(function, 80) for kind in (LazyGreedy(), NaiveGreedy()))
    np.testing.assert_array_equal(lazy.items, naive.items)
    np.testing.assert_array_equal(lazy.gains, naive.gains)


def test_the_selection_beats_every_random_set_and_both_references(less):
    view = SelfCovered(ArrayView(less["less"]))
    function = FacilityLocation(view, lower_bound(view))
    vectors = less["minilm"] / np.linalg.norm(less["minilm"], axis=1, keepdims=True)
    cosine = SelfCovered(DenseView.of(CosineView(vectors, vectors), 1 << 30))
    references = {
        "cosine": cosine_picks(cosine, 80),
        "top-mean": top_by_mean(view, 80),
    }
    told = compare(function, LazyGreedy().maximize(function, 80), references, seed=0)
    assert told.value > max(*told.random, *told.references.values())
    assert told.nonzero_gain_picks == 80
    for value in told.references.values():
        assert normalised_gain(value, float(np.mean(told.random)), told.value) < 1
