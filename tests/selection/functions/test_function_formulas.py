"""Is every set function its own formula? Written again with plain loops, for every set of 7."""

from __future__ import annotations

from itertools import combinations
from math import log1p, sqrt

import numpy as np
import pytest

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
from influence_store.selection.functions.modular import Modular
from influence_store.selection.functions.saturated_coverage import SaturatedCoverage
from influence_store.selection.views import ArrayView

RNG = np.random.default_rng(0)
M, N = 5, 7
# 64ths are exact in float32, and so are their sums.
POOL = RNG.integers(0, 64, (M, N)) / 64
QUERIES = RNG.integers(0, 64, (M, 2)) / 64
GIVEN = RNG.integers(0, 32, (M, 3)) / 64
OWN = np.maximum(half := RNG.integers(0, 64, (N, N)) / 64, half.T)
KNOWN = RNG.integers(0, 64, (N, 2)) / 64
PRODUCTS = (vectors := RNG.integers(-8, 8, (N, 3)) / 8) @ vectors.T
SCORES = RNG.integers(-8, 8, N) / 8


def best(row, items):
    return max((row[j] for j in items), default=0.0)


def flqmi(a):
    covered = sum(best(POOL[q], a) for q in range(M))
    return covered + 0.5 * sum(max(POOL[q, j] for q in range(M)) for j in a)


def fl1mi(a):
    return sum(min(best(POOL[i], a), 1.5 * max(QUERIES[i])) for i in range(M))


def flcg(a):
    return sum(max(best(POOL[i], a) - 0.5 * max(GIVEN[i]), 0) for i in range(M))


def flcmi(a):
    return sum(
        max(min(best(POOL[i], a), 0.75 * max(QUERIES[i])) - 1.5 * max(GIVEN[i]), 0)
        for i in range(M)
    )


def graph_cut(a):
    repeated = sum(OWN[j, k] for j in a for k in a)
    return sum(POOL[i, j] for i in range(M) for j in a) - 0.75 * repeated


def gccg(a):
    represented = sum(OWN[i, j] for i in range(N) for j in a)
    repeated = sum(OWN[j, k] for j in a for k in a)
    return represented - 0.75 * repeated - 2 * 0.75 * 0.5 * sum(sum(KNOWN[j]) for j in a)


def log_determinant(a):
    """By the eigenvalues: no factor, no determinant."""
    block = PRODUCTS[np.ix_(a, a)] + 0.5 * np.eye(len(a))
    return float(np.log(np.linalg.eigvalsh(block)).sum())


def concave_over_modular(concave):
    return lambda a: sum(concave(sum(POOL[d, j] for j in a)) for d in range(M))


def saturated(a):
    return sum(min(sum(POOL[i, j] for j in a), 0.25 * sum(POOL[i])) for i in range(M))


def disparity_sum(a):
    return sum(1 - OWN[j, k] for j, k in combinations(a, 2))


def disparity_min(a):
    return min((1 - OWN[j, k] for j, k in combinations(a, 2)), default=0.0)


def view(matrix):
    return ArrayView(matrix)


CASES = {
    "facility location": (
        FacilityLocation(view(POOL), 0.0),
        lambda a: sum(best(POOL[i], a) for i in range(M)),
    ),
    "flqmi": (FLQMI(view(POOL), eta=0.5), flqmi),
    "fl1mi": (FL1MI(view(POOL), view(QUERIES), eta=1.5), fl1mi),
    "flcg": (FLCG(view(POOL), view(GIVEN), nu=0.5), flcg),
    "flcmi": (FLCMI(view(POOL), view(QUERIES), view(GIVEN), eta=0.75, nu=1.5), flcmi),
    "graph cut": (GraphCut(view(POOL), view(OWN), lam=0.75), graph_cut),
    "gcmi": (GCMI(view(POOL), lam=0.75), lambda a: 1.5 * sum(sum(POOL[:, j]) for j in a)),
    "gccg": (GCCG(view(OWN), view(KNOWN), lam=0.75, nu=0.5), gccg),
    "log-determinant": (LogDeterminant(view(PRODUCTS), regularisation=0.5), log_determinant),
    "square root": (FeatureBased(POOL.T), concave_over_modular(sqrt)),
    "logarithm": (FeatureBased(POOL.T, concave="log"), concave_over_modular(log1p)),
    "inverse": (
        FeatureBased(POOL.T, concave="inverse"),
        concave_over_modular(lambda held: 1 - 1 / (1 + held)),
    ),
    "saturated coverage": (SaturatedCoverage(view(POOL), alpha=0.25), saturated),
    "disparity sum": (DisparitySum(view(OWN)), disparity_sum),
    "disparity min": (DisparityMin(view(OWN)), disparity_min),
    "modular": (Modular(SCORES), lambda a: sum(SCORES[j] for j in a)),
    "mixture": (
        Mixture([FLCG(view(POOL), view(GIVEN), nu=0.5), Modular(SCORES)], [0.5, 2.0]),
        lambda a: 0.5 * flcg(a) + 2.0 * sum(SCORES[j] for j in a),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_is_its_formula_for_every_set(name):
    function, formula = CASES[name]
    for size in range(N + 1):
        for items in combinations(range(N), size):
            value = function.value(np.array(items, np.int64))
            assert value == pytest.approx(formula(items), rel=1e-12, abs=1e-12)
