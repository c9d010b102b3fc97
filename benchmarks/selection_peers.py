"""How long does facility location take, and does it reach what submodlib and apricot reach?

    python benchmarks/selection_peers.py --n 5000 --budget 500

CPU seconds of this process for clustered 384-d unit vectors with the cosine kernel, kernel and
maximisation apart. A peer is measured where it is installed (pip install submodlib-py
apricot-select, Python ≤ 3.12); apricot runs twice, because its first call compiles.
"""

from __future__ import annotations

import argparse
import time
import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import CosineView, DenseView

CLUSTERS, WIDTH = 60, 384


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--budget", type=int, default=500)
    asked = parser.parse_args()
    vectors = clustered_vectors(asked.n)
    function = report("influence-store", ours, vectors, asked.budget)
    if find_spec("submodlib"):
        import_module("submodlib")  # not on the clock
        report("submodlib", submodlib, vectors, asked.budget, function)
    if find_spec("apricot"):
        import_module("apricot")
        report("apricot, first", apricot, vectors, asked.budget, function)
        report("apricot, warm", apricot, vectors, asked.budget, function)


def clustered_vectors(n):
    """(n, 384) unit rows in 60 clusters; the same for every run."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, WIDTH))
    vectors = centres[rng.integers(CLUSTERS, size=n)] + 1.2 * rng.normal(size=(n, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def report(name, run, vectors, budget, function=None):
    """Time `run` and print a line with the objective of its picks, by our own function."""
    laps = [time.process_time()]
    used, items = run(vectors, budget, lambda: laps.append(time.process_time()))
    laps.append(time.process_time())
    kernel, select = np.diff(laps)
    function = function or used
    print(
        f"{name:16} kernel {kernel:7.3f} s   select {select:7.3f} s   "
        f"objective {function.value(items):.6f}"
    )
    return function


def ours(vectors, budget, lap):
    view = DenseView.of(CosineView(vectors, vectors), 8 << 30)
    lap()
    function = FacilityLocation(view, lower_bound(view))
    return function, LazyGreedy().maximize(function, budget).items


def submodlib(vectors, budget, lap):
    from submodlib import FacilityLocationFunction

    kernel = shifted(vectors)
    lap()
    function = FacilityLocationFunction(
        n=len(vectors), mode="dense", sijs=kernel, separate_rep=False
    )
    picks = function.maximize(budget=budget, optimizer="LazyGreedy", show_progress=False)
    return None, np.array([item for item, _ in picks])


def apricot(vectors, budget, lap):
    from apricot import FacilityLocationSelection

    kernel = shifted(vectors).astype(np.float64)
    lap()
    selector = FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy")
    return None, np.array(selector.fit(kernel).ranking)


def shifted(vectors):
    """The cosine kernel raised to start at 0, where both peers start their running maximum."""
    kernel = vectors @ vectors.T
    return kernel - kernel.min()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
