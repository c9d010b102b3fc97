"""Do two libraries that others wrote reach the same objective? Runs where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.disparity_min import DisparityMin
from influence_store.selection.functions.disparity_sum import DisparitySum
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.feature_based import FeatureBased
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.functions.flcmi import FLCMI
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.functions.gccg import GCCG
from influence_store.selection.functions.gcmi import GCMI
from influence_store.selection.functions.graph_cut import GraphCut
from influence_store.selection.functions.log_determinant import LogDeterminant
from influence_store.selection.functions.mixture import Mixture
from influence_store.selection.functions.saturated_coverage import SaturatedCoverage
from influence_store.selection.optimizers import LazyGreedy, NaiveGreedy
from influence_store.selection.views import ArrayView, CosineView, screened

# What they warn about (names that scipy and numpy moved) is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

N, BUDGET = 500, 50


@pytest.fixture(scope="module")
def kernels():
    """A symmetric pool kernel and one against 7 other samples, both in [0, 1]."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 32))[rng.integers(12, size=N + 7)]
    vectors = vectors + 0.8 * rng.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = np.ascontiguousarray((1 + vectors @ vectors.T) / 2, np.float32)
    return similarity[:N, :N].copy(), similarity[:N, N:].copy()


@pytest.fixture(scope="module")
def features():
    """Amounts of 20 features, each from 0 to 1: what submodlib's rescaling leaves alone."""
    amounts = np.random.default_rng(1).random((N, 20)) ** 4
    amounts[0], amounts[1] = 0.0, 1.0
    return amounts


def ours(function):
    chosen = LazyGreedy().maximize(function, BUDGET)
    return function.value(chosen.items), chosen.gains.sum()


def submodlib_picks(function, optimizer="LazyGreedy"):
    picks = function.maximize(
        budget=BUDGET,
        optimizer=optimizer,
        stopIfZeroGain=False,
        stopIfNegativeGain=False,
        show_progress=False,
    )
    return np.array([item for item, _ in picks])


def check(function, theirs, objective):
    """Same objective by their picks and ours, and the same value for the same set."""
    value, gained = ours(function)
    assert gained == pytest.approx(value, rel=1e-9)
    assert function.value(theirs) == pytest.approx(value, rel=1e-6)
    assert objective(theirs) == pytest.approx(function.value(theirs), rel=1e-5)


def check_path(function, theirs, objective):
    """Each of their picks is greedy for ours as well, and all prefixes have the same value.

    For functions whose first gains are all equal: then the first pick is a matter of taste.
    """
    state = function.empty()
    for size, item in enumerate(theirs.tolist(), start=1):
        left = np.setdiff1d(np.arange(N), theirs[: size - 1])
        gains = function.gains(state, left)
        assert gains[left == item] == pytest.approx(gains.max(), rel=1e-5, abs=1e-6)
        state = function.add(state, item)
        value = function.value(theirs[:size])
        assert objective(theirs[:size]) == pytest.approx(value, rel=1e-5, abs=1e-6)


def test_facility_location_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.FacilityLocationFunction(n=N, mode="dense", sijs=pool, separate_rep=False)
    check(
        FacilityLocation(ArrayView(pool), 0.0),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_screened_coverage_by_cosine_agrees_with_submodlib():
    library = pytest.importorskip("submodlib")
    vectors = np.random.default_rng(3).normal(size=(N, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    view = screened(CosineView(vectors, vectors), 1 << 30)
    shifted = (vectors @ vectors.T - np.float32(view.low)).clip(0)  # theirs starts from 0
    theirs = library.FacilityLocationFunction(n=N, mode="dense", sijs=shifted, separate_rep=False)
    function = FacilityLocation(view, view.low)
    value = function.value(FusedGreedy().maximize(function, BUDGET).items)
    picks = submodlib_picks(theirs)
    assert function.value(picks) == pytest.approx(value, rel=1e-6)
    assert theirs.evaluate(set(picks.tolist())) == pytest.approx(value, rel=1e-5)


def test_flqmi_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    _, queries = kernels
    theirs = library.FacilityLocationVariantMutualInformationFunction(
        n=N, num_queries=7, query_sijs=queries, queryDiversityEta=1.0
    )
    check(
        FLQMI(ArrayView(queries.T)),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_flcg_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, given = kernels
    theirs = library.FacilityLocationConditionalGainFunction(
        n=N, num_privates=7, data_sijs=pool, private_sijs=given, privacyHardness=1.0
    )
    check(
        FLCG(ArrayView(pool), ArrayView(given)),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_fl1mi_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, queries = kernels
    theirs = library.FacilityLocationMutualInformationFunction(
        n=N, num_queries=7, data_sijs=pool, query_sijs=queries, magnificationEta=1.0
    )
    check(
        FL1MI(ArrayView(pool), ArrayView(queries)),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_flcmi_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, others = kernels
    queries, given = others[:, :4].copy(), others[:, 4:].copy()
    theirs = library.FacilityLocationConditionalMutualInformationFunction(
        n=N,
        num_queries=4,
        num_privates=3,
        data_sijs=pool,
        query_sijs=queries,
        private_sijs=given,
        magnificationEta=1.5,
        privacyHardness=0.5,
    )
    check(
        FLCMI(ArrayView(pool), ArrayView(queries), ArrayView(given), eta=1.5, nu=0.5),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


@pytest.mark.parametrize("lam", [0.4, 0.5])
def test_graph_cut_agrees_with_submodlib(kernels, lam):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.GraphCutFunction(
        n=N, mode="dense", lambdaVal=lam, ggsijs=pool, separate_rep=False
    )
    check(
        GraphCut(ArrayView(pool), lam=lam),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_graph_cut_for_other_targets_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, queries = kernels
    rows = np.ascontiguousarray(queries.T)
    theirs = library.GraphCutFunction(
        n=N, mode="dense", lambdaVal=0.25, separate_rep=True, n_rep=7, mgsijs=rows, ggsijs=pool
    )
    # It is not monotone, so ours stops where it is worth most and theirs does not.
    function = GraphCut(ArrayView(rows), ArrayView(pool), lam=0.25)
    items = submodlib_picks(theirs)
    for size in (1, 5, BUDGET):
        value = theirs.evaluate(set(items[:size].tolist()))
        assert function.value(items[:size]) == pytest.approx(value, rel=1e-5)
    best = NaiveGreedy().maximize(function, BUDGET).items
    np.testing.assert_array_equal(best, items[: len(best)])


def test_gcmi_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    _, queries = kernels
    theirs = library.GraphCutMutualInformationFunction(n=N, num_queries=7, query_sijs=queries)
    check(
        GCMI(ArrayView(queries.T), lam=0.5),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_gccg_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, given = kernels
    theirs = library.GraphCutConditionalGainFunction(
        n=N,
        num_privates=7,
        lambdaVal=0.4,
        data_sijs=pool,
        private_sijs=given,
        privacyHardness=0.7,
    )
    check(
        GCCG(ArrayView(pool), ArrayView(given), lam=0.4, nu=0.7),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_log_determinant_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.LogDeterminantFunction(n=N, mode="dense", lambdaVal=1.0, sijs=pool)
    check_path(
        LogDeterminant(ArrayView(pool), regularisation=1.0),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_disparity_sum_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.DisparitySumFunction(n=N, mode="dense", sijs=pool)
    check_path(
        DisparitySum(ArrayView(pool)),
        submodlib_picks(theirs, "NaiveGreedy"),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def test_disparity_min_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.DisparityMinFunction(n=N, mode="dense", sijs=pool)
    check_path(
        DisparityMin(ArrayView(pool)),
        submodlib_picks(theirs, "NaiveGreedy"),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


@pytest.mark.parametrize("concave", ["sqrt", "log", "inverse"])
def test_feature_based_agrees_with_submodlib(features, concave):
    library = pytest.importorskip("submodlib")
    kind = pytest.importorskip("submodlib_cpp").FeatureBased
    mode = {"sqrt": kind.squareRoot, "log": kind.logarithmic, "inverse": kind.inverse}[concave]
    theirs = library.FeatureBasedFunction(
        n=N, features=features.tolist(), numFeatures=20, sparse=False, mode=mode
    )
    check(
        FeatureBased(features, concave=concave),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


def check_apricot(function, selector, data, weight=1.0):
    """As `check`; their objective is `weight` times ours."""
    selector.fit(data.astype(np.float64))
    value, gained = ours(function)
    assert gained == pytest.approx(value, rel=1e-9)
    assert function.value(np.array(selector.ranking)) == pytest.approx(value, rel=1e-6)
    assert float(np.sum(selector.gains)) == pytest.approx(weight * value, rel=1e-6)


PRECOMPUTED = {"metric": "precomputed", "optimizer": "lazy", "verbose": False}


def test_facility_location_agrees_with_apricot(kernels):
    library = pytest.importorskip("apricot")
    selector = library.FacilityLocationSelection(BUDGET, **PRECOMPUTED)
    check_apricot(FacilityLocation(ArrayView(kernels[0]), 0.0), selector, kernels[0])


def test_graph_cut_agrees_with_apricot(kernels):
    library = pytest.importorskip("apricot")
    selector = library.GraphCutSelection(BUDGET, alpha=2.5, **PRECOMPUTED)
    check_apricot(GraphCut(ArrayView(kernels[0]), lam=0.4), selector, kernels[0], weight=2.5)


def test_saturated_coverage_agrees_with_apricot(kernels):
    library = pytest.importorskip("apricot")
    selector = library.SaturatedCoverageSelection(BUDGET, alpha=0.1, **PRECOMPUTED)
    check_apricot(SaturatedCoverage(ArrayView(kernels[0]), alpha=0.1), selector, kernels[0])


@pytest.mark.slow
def test_feature_based_agrees_with_apricot(features):
    library = pytest.importorskip("apricot")
    selector = library.FeatureBasedSelection(
        BUDGET, concave_func="log", optimizer="lazy", verbose=False
    )
    check_apricot(FeatureBased(features, concave="log"), selector, features)


@pytest.mark.slow
def test_a_mixture_agrees_with_apricot(kernels):
    library = pytest.importorskip("apricot")
    view = ArrayView(kernels[0])
    parts = [
        library.FacilityLocationSelection(BUDGET, **PRECOMPUTED),
        library.GraphCutSelection(BUDGET, alpha=2.5, **PRECOMPUTED),
    ]
    selector = library.MixtureSelection(
        BUDGET, parts, weights=np.array([2.0, 0.5]), metric="precomputed", optimizer="lazy"
    )
    # Half of their graph cut with α = 2.5 is 1.25 times ours with λ = 0.4.
    mixture = Mixture([FacilityLocation(view, 0.0), GraphCut(view, lam=0.4)], [2.0, 1.25])
    check_apricot(mixture, selector, kernels[0])
