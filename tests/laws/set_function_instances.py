"""Small instances of every set function, for the laws; the name comes first in each label."""

from __future__ import annotations

import numpy as np

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


class Parts:
    """Random kernels of one shape: floats, or eighths with many equal values."""

    def __init__(self, rng, m, n, ties, wrap):
        self.rng, self.m, self.n, self.ties, self.wrap = rng, m, n, ties, wrap

    def values(self, *shape, signed=False):
        values = self.rng.integers(0, 4, shape) / 8 if self.ties else self.rng.random(shape)
        return (values - 0.25 if signed else values).astype(np.float32)

    def pool(self, signed=False):
        return self.wrap(self.values(self.m, self.n, signed=signed))

    def other(self, signed=False):
        return self.wrap(self.values(self.m, 2, signed=signed))

    def among_sources(self):
        values = self.values(self.n, self.n)
        return self.wrap(np.maximum(values, values.T))

    def of_sources(self):
        return self.wrap(self.values(self.n, 2))

    def products(self):
        vectors = self.values(self.n, 4, signed=True).astype(np.float64)
        return self.wrap((vectors @ vectors.T).astype(np.float32))


def facility_location(p, **settings):
    pool = p.values(p.m, p.n, signed=True)
    return FacilityLocation(p.wrap(pool), float(pool.min()), **settings)


def mixture(p, **settings):
    parts = [facility_location(p, **settings), Modular(p.values(p.n))]
    return Mixture(parts, [0.5, 2.0])


MAKE = {
    "facility-location": facility_location,
    "flqmi": lambda p, **s: FLQMI(p.pool(), eta=0.75, **s),
    "fl1mi": lambda p, **s: FL1MI(p.pool(), p.other(), eta=1.25, **s),
    "flcg": lambda p, **s: FLCG(p.pool(signed=True), p.other(signed=True), nu=0.75, **s),
    "flcmi": lambda p, **s: FLCMI(p.pool(), p.other(), p.other(), eta=1.25, nu=0.5, **s),
    "graph-cut": lambda p, **s: GraphCut(p.among_sources(), lam=0.375, **s),
    "graph-cut for others": lambda p, **s: GraphCut(p.pool(), p.among_sources(), lam=2.0, **s),
    "gcmi": lambda p, **s: GCMI(p.pool(), lam=0.75, **s),
    "gccg": lambda p, **s: GCCG(p.among_sources(), p.of_sources(), lam=0.75, nu=2.0, **s),
    "log-determinant": lambda p: LogDeterminant(p.products()),
    "log-determinant small": lambda p: LogDeterminant(p.products(), regularisation=0.125),
    "feature-based": lambda p: FeatureBased(p.values(p.n, p.m)),
    "feature-based log": lambda p: FeatureBased(
        p.values(p.n, p.m), concave="log", weights=np.arange(p.m)
    ),
    "feature-based inverse": lambda p: FeatureBased(p.values(p.n, p.m), concave="inverse"),
    "saturated-coverage": lambda p, **s: SaturatedCoverage(p.pool(), alpha=0.375, **s),
    "disparity-sum": lambda p: DisparitySum(p.among_sources()),
    "disparity-min": lambda p: DisparityMin(p.among_sources()),
    "modular": lambda p: Modular(p.values(p.n)),
    "modular signed": lambda p: Modular(p.values(p.n, signed=True)),
    "mixture": mixture,
}


def instance(label, rng, *, ties=False, m=6, n=8, wrap=ArrayView, **settings):
    """The function `label` over random values, its kernels seen through `wrap`."""
    return MAKE[label](Parts(rng, m, n, ties, wrap), **settings)


EVERY = list(MAKE)
_OF = {label: instance(label, np.random.default_rng(0)) for label in EVERY}
SUBMODULAR = [label for label in EVERY if _OF[label].submodular]
MONOTONE = [label for label in EVERY if _OF[label].monotone]
#: What greedy's guarantees are about.
NAMES = [label for label in SUBMODULAR if label in MONOTONE]
#: Those that read a kernel, and those that read it tile by tile.
OF_KERNELS = [label for label in EVERY if label.split()[0] not in {"feature-based", "modular"}]
TILED = [
    label
    for label in OF_KERNELS
    if label.split()[0] not in {"log-determinant", "disparity-sum", "disparity-min"}
]
