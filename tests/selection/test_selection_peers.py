"""Do two libraries that others wrote reach the same objective? Runs where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.fl1mi import FL1MI
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView

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


def ours(function):
    chosen = LazyGreedy().maximize(function, BUDGET)
    return function.value(chosen.items), chosen.gains.sum()


def submodlib_picks(function):
    picks = function.maximize(
        budget=BUDGET,
        optimizer="LazyGreedy",
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


def test_facility_location_agrees_with_submodlib(kernels):
    library = pytest.importorskip("submodlib")
    pool, _ = kernels
    theirs = library.FacilityLocationFunction(n=N, mode="dense", sijs=pool, separate_rep=False)
    check(
        FacilityLocation(ArrayView(pool), 0.0),
        submodlib_picks(theirs),
        lambda items: theirs.evaluate(set(items.tolist())),
    )


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


def test_facility_location_agrees_with_apricot(kernels):
    library = pytest.importorskip("apricot")
    pool, _ = kernels
    selector = library.FacilityLocationSelection(
        BUDGET, metric="precomputed", optimizer="lazy", verbose=False
    )
    selector.fit(pool.astype(np.float64))
    function = FacilityLocation(ArrayView(pool), 0.0)
    value, _ = ours(function)
    assert function.value(np.array(selector.ranking)) == pytest.approx(value, rel=1e-6)
    assert float(np.sum(selector.gains)) == pytest.approx(value, rel=1e-6)
