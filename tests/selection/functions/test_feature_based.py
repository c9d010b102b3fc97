from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.feature_based import FeatureBased
from influence_store.selection.functions.modular import Modular
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy

FEATURES = np.array([[4.0, 0.0], [3.0, 0.0], [0.0, 1.0]])


def test_a_new_feature_beats_more_of_a_known_one():
    chosen = LazyGreedy().maximize(FeatureBased(FEATURES), 2)
    assert chosen.items.tolist() == [0, 2]
    assert chosen.gains == pytest.approx([2.0, 1.0])


def test_a_weight_makes_more_of_the_known_one_worth_it():
    chosen = LazyGreedy().maximize(FeatureBased(FEATURES, weights=[10.0, 1.0]), 2)
    assert chosen.items.tolist() == [0, 1]


@pytest.mark.parametrize("concave", ["sqrt", "log", "inverse"])
def test_lazy_greedy_is_naive_greedy_bit_for_bit_on_floats_of_many_sizes(concave):
    features = np.random.default_rng(0).lognormal(sigma=4, size=(60, 30)).astype(np.float32)
    function = FeatureBased(features, concave=concave)
    lazy, naive = (one().maximize(function, 40) for one in (LazyGreedy, NaiveGreedy))
    np.testing.assert_array_equal(lazy.items, naive.items)
    np.testing.assert_array_equal(lazy.gains, naive.gains)


@pytest.mark.parametrize("concave", ["sqrt", "log", "inverse"])
def test_gains_never_grow_by_rounding_however_little_joins(concave):
    # Amounts of about 100 to which grains are added: a gain changes in its last bits or not at all.
    amounts = np.random.default_rng(0).random((80, 1)) * 100
    amounts[40:] *= 1e-14
    function = FeatureBased(amounts, concave=concave)
    state, large = function.add(function.empty(), 0), np.arange(1, 40)
    before = function.gains(state, large)
    for grain in range(40, 80):
        state = function.add(state, grain)
        after = function.gains(state, large)
        assert (after <= before).all()
        before = after


def test_a_feature_nobody_has_changes_nothing():
    padded = np.hstack([FEATURES, np.zeros((3, 1))])
    for concave in ("sqrt", "log", "inverse"):
        function = FeatureBased(padded, concave=concave)
        plain = FeatureBased(FEATURES, concave=concave)
        np.testing.assert_array_equal(
            function.gains(function.empty(), np.arange(3)),
            plain.gains(plain.empty(), np.arange(3)),
        )


def test_small_amounts_under_the_logarithm_are_almost_modular():
    tiny = np.random.default_rng(1).random((9, 4)) * 1e-9
    items = np.array([0, 4, 8])
    assert FeatureBased(tiny, concave="log").value(items) == pytest.approx(
        Modular(tiny.sum(axis=1)).value(items), rel=1e-6
    )


def test_facts_hold_weights_only_where_they_matter():
    assert FeatureBased(FEATURES).facts["weights"] is None
    assert FeatureBased(FEATURES, weights=[1.0, 2.0]).facts["weights"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("features", "settings", "told"),
    [
        (FEATURES - 1.0, {}, "values ≥ 0 and the smallest is -1"),
        (FEATURES * np.nan, {}, "not finite, the first at position 0"),
        (FEATURES[0], {}, r"expected features \(n, d\), found shape \(2,\)"),
        (FEATURES, {"concave": "square"}, "'square'; expected one of sqrt, log, inverse"),
        (FEATURES, {"weights": [1.0]}, "expected 2 weights"),
        (FEATURES, {"weights": [1.0, -1.0]}, "a weight is negative"),
    ],
)
def test_what_has_no_meaning_is_refused(features, settings, told):
    with pytest.raises(ValueError, match=told):
        FeatureBased(features, **settings)
