"""How long does facility location take on up to a million samples, and what does it lose?

    python benchmarks/selection_million.py EMBEDDINGS.npy            real rows, then a million
    python benchmarks/selection_million.py STORE --dataset t0        the same from a store

EMBEDDINGS are float32 rows of length 1. Up to as many as there are, rows are drawn without
replacement. A larger set is made of copies: every row is a random real one plus Gaussian noise of
length 0.6, put back to length 1 (cosine to its original about 0.86), so that it has the clusters
and the crowds of real texts without their exact twins. All by seed 0.

Each size runs in a process of its own, that reports wall and CPU seconds, and its peak memory
(ru_maxrss). "query" is what a selection costs once the index is there. "of exact" is the objective
Σ_i max_{j∈A} cos(i, j), counted from the smallest cosine, over that of the exact greedy picks,
where the whole kernel fits (--exact-up-to); "told" is what the program itself estimates.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from influence_store.cores import cores
from influence_store.selection.engine.greedy import maximize
from influence_store.selection.engine.screen import ScreenedView
from influence_store.selection.engine.screened_columns import ScreenedColumns
from influence_store.selection.limits import Limits
from influence_store.selection.neighbours.index import K, build_neighbours
from influence_store.selection.neighbours.loss import expected_share
from influence_store.selection.neighbours.sparse import sparse_kernel
from influence_store.store.store import Store
from influence_store.version import __version__

NOISE = 0.6
SHARES = (0.005, 0.01, 0.05, 0.1)
HEAD = "rows      budget  step      wall s   CPU s  peak MB  of exact  told"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", type=Path, help="a .npy file or a store")
    parser.add_argument("--dataset", help="of the store; its newest complete embedder is read")
    parser.add_argument("--rows", type=int, nargs="*", default=[5_000, 20_000, 50_000, 1_000_000])
    parser.add_argument("--k", type=int, default=K)
    parser.add_argument("--exact-up-to", type=int, default=20_000)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_this_process:
        measure(asked, asked.rows[0])
        return
    print(f"{cores()} cores, k = {asked.k}\n{HEAD}", flush=True)
    for rows in asked.rows:
        command = [sys.executable, *sys.argv, "--in-this-process", "--rows", str(rows)]
        subprocess.run(command, check=True)


def measure(asked, n):
    warm_up()
    vectors = sample(load(asked.embeddings, asked.dataset), n)
    lap = Lap(n)
    neighbours = build_neighbours(vectors, k=asked.k)
    lap("index")
    answers = {}
    for budget in [int(n * share) for share in SHARES]:
        lap.restart()
        items = picks(neighbours, budget)
        lap("query", budget)
        told = expected_share(vectors, neighbours, items)
        lap("estimate", budget, told=told.line())
        answers[budget] = items
    del neighbours
    if n <= asked.exact_up_to:
        compare(vectors, answers, lap)


def compare(vectors, answers, lap):
    """The objective of the answers relative to that of exact greedy, whose order serves all."""
    lap.restart()
    kernel = ScreenedView(vectors)
    order = greedy(ScreenedColumns(kernel), lowest(kernel), max(answers))
    lap("exact", max(answers))
    for budget, items in answers.items():
        reached, best = (
            (kernel.best(chosen) - kernel.low).sum(dtype=np.float64)
            for chosen in (items, order[:budget])
        )
        lap("quality", budget, of_exact=reached / best)


def lowest(kernel):
    """Where every level starts, (n,)."""
    return np.full(kernel.n, kernel.low, np.float32)


def picks(neighbours, budget):
    pairs, level = sparse_kernel(neighbours)
    return greedy(pairs, level, budget)


def greedy(columns, level, budget):
    n = len(level)
    cap, bonus = np.ones(n, np.float32), np.zeros(n)
    return maximize(columns, level, Limits(budget), cap=cap, bonus=bonus).items


class Lap:
    """Prints what has passed since the last line."""

    def __init__(self, n):
        self.n = n
        self.restart()

    def restart(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __call__(self, step, budget=0, of_exact=None, told=""):
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        quality = f"{of_exact:8.4f}" if of_exact else " " * 8
        print(
            f"{self.n:9,} {budget:7,} {step:9} {wall:6.1f}  {cpu:6.1f}  {peak:7,.0f}  "
            f"{quality}  {told}",
            flush=True,
        )
        self.restart()


def warm_up():
    """Compile (or load what was compiled) before the clock starts."""
    vectors = sample(np.eye(8, dtype=np.float32), 200)
    neighbours = build_neighbours(vectors, k=4)
    picks(neighbours, 3)
    expected_share(vectors, neighbours, np.arange(3))
    kernel = ScreenedView(vectors)
    greedy(ScreenedColumns(kernel), lowest(kernel), 3)
    kernel.best(np.arange(3))


def load(path, dataset):
    if path.suffix == ".npy":
        return np.load(path)
    store = Store.open(path, __version__)
    version = store.version(dataset)
    complete = [one for one in store.producers("embedding") if not store.missing(version, one)]
    return store.vectors(complete[-1], version.sids)


def sample(real, n):
    """n rows of length 1: real ones while they last, else noisy copies."""
    rng = np.random.default_rng(0)
    if n <= len(real):
        return np.ascontiguousarray(real[rng.permutation(len(real))[:n]])
    out = np.empty((n, real.shape[1]), np.float32)
    for start in range(0, n, 65_536):
        part = out[start : start + 65_536]
        part[:] = real[rng.integers(len(real), size=len(part))]
        part += NOISE / np.sqrt(real.shape[1]) * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return out


if __name__ == "__main__":
    main()
