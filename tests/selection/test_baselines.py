from __future__ import annotations

import json
import math

import numpy as np
import pytest

from influence_store.protocols import Chosen
from influence_store.selection.baselines import (
    compare,
    cosine_picks,
    first_that_fit,
    nonzero_gain_picks,
    normalised_gain,
    top_by_mean,
)
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, CosineView


def chosen_with(gains):
    return Chosen(np.arange(len(gains)), np.array(gains, np.float64), len(gains))


def clustered(rng, n):
    vectors = rng.normal(size=(5, 12))[rng.integers(5, size=n)] + 0.4 * rng.normal(size=(n, 12))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_normalised_gain_is_the_share_of_the_way_from_random_to_the_reference():
    assert normalised_gain(0.93, 0.92, 1.0) == pytest.approx(0.125)
    assert normalised_gain(1.0, 0.92, 1.0) == 1.0
    assert normalised_gain(0.92, 0.92, 1.0) == 0.0
    assert normalised_gain(0.90, 0.92, 1.0) < 0


def test_normalised_gain_agrees_with_the_form_in_ratios():
    value, random, reference = 41.0, 36.5, 44.0
    ratio, chance = value / reference, random / reference
    assert normalised_gain(value, random, reference) == pytest.approx(
        (ratio - chance) / (1 - chance)
    )


def test_normalised_gain_is_undefined_where_random_is_as_good():
    assert math.isnan(normalised_gain(3.0, 3.0, 3.0))


def test_picks_that_gain_nothing_are_not_counted():
    assert nonzero_gain_picks(chosen_with([4.0, 1.0, 0.0, 0.0])) == 2
    assert nonzero_gain_picks(chosen_with([4.0, 1e-3, 4e-8])) == 2
    assert nonzero_gain_picks(chosen_with([0.0, 0.0])) == 0
    assert nonzero_gain_picks(chosen_with([])) == 0


def test_an_additive_kernel_has_one_pick_that_gains():
    rng = np.random.default_rng(0)
    view = ArrayView(rng.random((50, 1)) + rng.random((1, 30)))
    chosen = LazyGreedy().maximize(FacilityLocation(view, lower_bound(view)), 20)
    assert nonzero_gain_picks(chosen) == 1


def test_top_by_mean_takes_large_columns_and_breaks_ties_by_position():
    view = ArrayView([[0.5, 0.25, 0.5, 1.0], [0.5, 0.25, 0.5, 0.5]])
    assert top_by_mean(view, 3).tolist() == [3, 0, 2]
    assert top_by_mean(ArrayView(np.ones((2, 300))), 250).tolist() == list(range(250))


def test_cosine_picks_are_facility_location_on_the_cosine():
    vectors = clustered(np.random.default_rng(1), 40)
    view = CosineView(vectors, vectors)
    naive = NaiveGreedy().maximize(FacilityLocation(view, lower_bound(view)), 7)
    np.testing.assert_array_equal(cosine_picks(view, 7), naive.items)


def test_random_and_references_are_measured_on_the_same_function():
    # A diagonal kernel: f is a sum of worths, so the mean over random sets is known.
    worth = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    view = ArrayView(np.diag(worth))
    function = FacilityLocation(view, 0.0)
    chosen = LazyGreedy().maximize(function, 3)
    told = compare(
        function,
        chosen,
        {"worst": np.array([0, 1, 2]), "top-mean": top_by_mean(view, 3)},
        seed=0,
        draws=400,
    )
    assert told.value == 21.0
    assert told.references == {"worst": 6.0, "top-mean": 21.0}
    assert np.mean(told.random) == pytest.approx(3 * 4.5, abs=4 * 3.35 / 20)
    assert {6.0, 21.0} >= {min(told.random), max(told.random)}
    facts = told.facts()
    assert facts["references"]["top-mean"]["normalised_gain"] == 1.0
    assert facts["references"]["worst"]["normalised_gain"] < 0


def test_facts_are_the_numbers_of_the_draws():
    function = FacilityLocation(ArrayView(np.random.default_rng(2).random((9, 15))), 0.0)
    told = compare(function, LazyGreedy().maximize(function, 4), {}, seed=5)
    facts = json.loads(json.dumps(told.facts()))
    assert (facts["n"], facts["budget"], facts["nonzero_gain_picks"]) == (15, 4, 4)
    assert facts["random"] == {
        "draws": 20,
        "seed": 5,
        "mean": pytest.approx(np.mean(told.random)),
        "sd": pytest.approx(np.std(told.random, ddof=1)),
        "min": min(told.random),
        "max": max(told.random),
    }
    assert len(set(told.random)) > 1


def test_the_same_seed_draws_the_same_sets():
    function = FacilityLocation(ArrayView(np.random.default_rng(3).random((9, 15))), 0.0)
    chosen = LazyGreedy().maximize(function, 4)
    one, again, other = (compare(function, chosen, {}, seed=seed).random for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_where_every_set_is_worth_the_same_the_normalised_gain_is_undefined():
    function = FacilityLocation(ArrayView(np.full((4, 6), 0.5)), 0.0)
    chosen = LazyGreedy().maximize(function, 2)
    facts = compare(function, chosen, {"last": np.array([4, 5])}, seed=0).facts()
    assert facts["references"]["last"] == {"value": 2.0, "normalised_gain": None}


def test_random_sets_keep_the_limits_of_the_selection():
    function = FacilityLocation(ArrayView(np.diag([1.0, 2.0, 4.0, 8.0, 16.0])), 0.0)
    barred = np.array([False, False, False, False, True])
    limits = Limits(
        2, groups=np.array([0, 0, 1, 1, 1]), floors=np.array([0, 1]), ceilings=np.array([1, 1]),
        barred=barred,
    )  # fmt: skip
    chosen = LazyGreedy().maximize(function, limits)
    assert chosen.items.tolist() == [3, 1]
    allowed = {a + b for a in (1.0, 2.0) for b in (4.0, 8.0)}
    told = compare(function, chosen, {}, seed=0, limits=limits, draws=40)
    assert set(told.random) == allowed


def test_what_fits_is_taken_in_order():
    limits = Limits(3, costs=np.array([5.0, 1.0, 4.0, 2.0]), most=7.0)
    assert first_that_fit(np.array([0, 2, 1, 3]), limits, 4).tolist() == [0, 1]
    assert first_that_fit(np.array([2, 0, 3, 1]), limits, 4).tolist() == [2, 3, 1]
    loose = Limits(2, barred=np.array([True, False, False, False]))
    assert first_that_fit(np.array([0, 2, 1, 3]), loose, 4).tolist() == [2, 1]


def test_one_draw_has_no_deviation():
    function = FacilityLocation(ArrayView(np.eye(4)), 0.0)
    with pytest.raises(ValueError, match="found 1 random draws; expected at least 2"):
        compare(function, LazyGreedy().maximize(function, 2), {}, seed=0, draws=1)
