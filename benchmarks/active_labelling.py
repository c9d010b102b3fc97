"""How many LLM passes does a good selection need, with active labelling and with fixed designs?

    python benchmarks/active_labelling.py --data DATA --encoder FOLDER [--seeds 5] [--rows 240]
                                          [--matrix less_C delift_A] [--strategy NAME ...]

DATA holds labels/less_C.npz and labels/delift_A.npz with its pool. Every strategy asks for pairs
until a share of all pairs is labelled; two-step kernel ridge is fitted to them, labels overwrite
estimates (column "+ labels"; the other columns are for the estimate alone), and greedy facility
location picks 10 % and 30 % of all sources. Its value on the true matrix, labelled part included:
0 = a random set, 1 = the set picked on the true matrix itself. Mean ± standard error over seeds;
of less_C each seed takes other `--rows`. Prints Markdown.

complete, column, block, scatter   fixed designs (influence/design.py)
active                             network/acquisition.py, from a scatter of 1 % of the pairs
active, no doubt                   the same without the draw: the greatest estimates are asked
verify                             all targets of the sources that are selected now
k-center                           all targets of sources that lie far apart
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from influence_store.embedding import open_embedder
from influence_store.influence.design import DESIGNS
from influence_store.network import kernel_ridge
from influence_store.network.acquisition import (
    CANDIDATES,
    believed,
    change,
    drawn,
    next_pairs,
    settled,
)
from influence_store.network.features import Features, lengths
from influence_store.network.labels import usable
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.k_center import k_center
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView
from influence_store.settings import cache_dir

SHARES = (0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2)
BUDGETS = (0.1, 0.3)
GROWTH = 0.25
ACTIVE = ("active", "active, no doubt")
BY_SOURCE = ("verify", "k-center")
MATRICES = ("less_C", "delift_A")
STRATEGIES = (*DESIGNS, *BY_SOURCE, *ACTIVE)


@dataclass(frozen=True)
class Pool:
    """Labels (n_targets, n_sources), NaN where the teacher has none; positions into `features`."""

    truth: np.ndarray
    features: Features
    targets: np.ndarray
    sources: np.ndarray

    @property
    def ids(self) -> tuple[list[bytes], list[bytes]]:
        """Names of sources and of targets, for the designs."""
        return tuple([int(k).to_bytes(16, "big") for k in side] for side in self.sides)

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.sources, self.targets


@dataclass
class Labelled:
    """What one strategy has asked so far; `estimate` is refitted as it grows."""

    pool: Pool
    seed: int
    asked: np.ndarray
    estimate: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        return np.where(self.asked, self.pool.truth, np.nan)

    def add(self, targets: np.ndarray, sources: np.ndarray) -> None:
        """Ask, and fit again."""
        self.asked[targets, sources] = True
        self.asked &= ~np.isnan(self.pool.truth)
        i, j = np.nonzero(self.asked)
        pool, values = self.pool, self.pool.truth[i, j]
        pairs = usable(pool.targets[i], pool.sources[j], values, pool.features.block("embedding"))
        fitted = kernel_ridge.fit(pairs, pool.features, seed=self.seed)
        x = pool.features.values
        self.estimate = fitted.predict(x[pool.targets], x[pool.sources])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", help="for delift_A, whose embeddings are not stored")
    parser.add_argument("--matrix", nargs="*", choices=MATRICES, default=MATRICES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--strategy", nargs="*", choices=STRATEGIES, default=STRATEGIES)
    given = parser.parse_args()
    if "delift_A" in given.matrix and not given.encoder:
        parser.error("delift_A needs --encoder")
    for name in given.matrix:
        if name == "less_C":
            seeded = [less(given.data, given.rows, seed) for seed in range(given.seeds)]
        else:
            seeded = [delift(given.data, given.encoder)] * given.seeds
        n_targets, n_sources = seeded[0].truth.shape
        print(
            f"\n{name}, {n_targets} × {n_sources}, {given.seeds} seeds, passes in % of all pairs\n"
        )
        shown = " | ".join(f"{share:.0%}" for share in SHARES)
        print(f"| strategy | selected | {shown} | settled |")
        print("|---|---|" + "--:|" * (len(SHARES) + 1))
        for strategy in given.strategy:
            runs = [curve(strategy, pool, seed) for seed, pool in enumerate(seeded)]
            report(strategy, np.array([run[0] for run in runs]), [run[1] for run in runs])


def report(strategy: str, curves: np.ndarray, stops: list[float | None]) -> None:
    """Curves (n_seeds, n_shares, estimate or + labels, n_budgets)."""
    mean = curves.mean(axis=0)
    error = curves.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else mean * 0
    known = [stop for stop in stops if stop is not None]
    stop = f"{np.mean(known):.0%} ({len(known)} of {len(stops)})" if known else "–"
    for b, budget in enumerate(BUDGETS):
        for k, kernel in ((1, " + labels"), (0, "")):
            cells = " | ".join(
                f"{mean[s, k, b]:.2f} ± {error[s, k, b]:.2f}" for s in range(len(SHARES))
            )
            print(f"| {strategy} | {budget:.0%}{kernel} | {cells} | {stop} |", flush=True)


def curve(strategy: str, pool: Pool, seed: int) -> tuple[list[list[list[float]]], float | None]:
    """Gains by share, kernel and budget; and the share at which the 10 % selection was settled."""
    rng = np.random.default_rng(seed)
    state = Labelled(pool, seed, np.zeros(pool.truth.shape, bool))
    total = int((~np.isnan(pool.truth)).sum())
    judge = Judge(pool.truth)
    gains, picked, changes, stop = [], [], [], None
    for share in SHARES:
        goal = int(share * total)
        # A design asks for pairs that have no label too, and falls a little short of the goal.
        while goal - state.asked.sum() > 0.1 * SHARES[0] * total:
            before = int(state.asked.sum())
            state.add(*more(strategy, state, goal, total, rng))
            kernel = believed(state.estimate, state.labels)
            picked.append(greedy(kernel, BUDGETS[0]))
            if len(picked) > 1:
                changes.append(change(kernel, *picked[-2:]))
            if stop is None and settled(changes):
                stop = state.asked.sum() / total
            if strategy in DESIGNS or state.asked.sum() == before:
                break
        kernels = (state.estimate, believed(state.estimate, state.labels))
        gains.append([[judge.gain(kernel, b) for b in BUDGETS] for kernel in kernels])
    return gains, stop


def more(
    strategy: str, state: Labelled, goal: int, total: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (targets, sources) to ask next on the way to `goal` labels."""
    pool, have = state.pool, int(state.asked.sum())
    if strategy in DESIGNS or not have:
        sources, targets = DESIGNS[strategy if strategy in DESIGNS else "scatter"](
            *pool.ids, round(goal * pool.truth.size / total), state.seed
        )
        return targets, sources
    n_pairs = min(goal - have, max(round(SHARES[0] * total), round(GROWTH * have)))
    open_ = ~np.isnan(pool.truth) & ~state.asked
    if strategy in ACTIVE:
        labels = state.labels
        draw = (drawn if strategy == "active" else lambda e, s, _: believed(e, s))(
            state.estimate, labels, rng
        )
        chosen = greedy(draw, CANDIDATES)
        return next_pairs(draw, open_, state.asked.sum(axis=1), chosen, n_pairs)
    if strategy == "verify":
        chosen = greedy(believed(state.estimate, state.labels), BUDGETS[1])
    else:
        vectors = pool.features.block("embedding")[pool.sources]
        chosen = k_center(len(vectors), vectors=vectors, ids=pool.ids[0], seed=state.seed).items
    by_source = [np.flatnonzero(open_[:, j]) for j in chosen]
    targets = np.concatenate(by_source)
    sources = np.repeat(chosen, [len(part) for part in by_source])
    return targets[:n_pairs], sources[:n_pairs]


class Judge:
    """Facility location on the true matrix; pairs without a label count as the least of all."""

    def __init__(self, truth: np.ndarray) -> None:
        self.matrix = np.where(np.isnan(truth), np.nanmin(truth), truth)
        rng = np.random.default_rng(0)
        n = truth.shape[1]
        self.best, self.random = {}, {}
        for budget in BUDGETS:
            size = round(budget * n)
            draws = [self.value(rng.choice(n, size, replace=False)) for _ in range(200)]
            self.random[budget] = float(np.mean(draws))
            self.best[budget] = self.value(greedy(self.matrix, budget))

    def value(self, chosen: np.ndarray) -> float:
        return float(self.matrix[:, chosen].max(axis=1).sum())

    def gain(self, kernel: np.ndarray, budget: float) -> float:
        """0 = a random set, 1 = the set picked on the true matrix."""
        random = self.random[budget]
        return (self.value(greedy(kernel, budget)) - random) / (self.best[budget] - random)


def greedy(matrix: np.ndarray, share: float) -> np.ndarray:
    """Positions of the picked `share` of the sources, by facility location."""
    view = ArrayView(matrix)
    function = FacilityLocation(view, float(view.matrix.min()))
    return LazyGreedy().maximize(function, round(share * matrix.shape[1])).items


def less(data: Path, rows: int, seed: int) -> Pool:
    """`rows` random samples of less_C, each a target and a source; no sample with itself."""
    z = np.load(data / "labels" / "less_C.npz")
    chosen = np.sort(np.random.default_rng(1000 + seed).permutation(len(z["less"]))[:rows])
    truth = z["less"][np.ix_(chosen, chosen)].astype(np.float64)
    np.fill_diagonal(truth, np.nan)
    blocks = {
        "embedding": z["minilm"][chosen].astype(np.float32),
        "lengths": lengths(z["prompt_tokens"][chosen], z["response_tokens"][chosen]),
    }
    everyone = np.arange(len(chosen))
    return Pool(truth, Features.of(blocks), everyone, everyone)


def delift(data: Path, encoder: str) -> Pool:
    """The part of delift_A where rows and columns are labelled nearly whole."""
    truth = np.load(data / "labels" / "delift_A.npz")["utility"].astype(np.float64)
    with gzip.open(data / "labels" / "delift_A_pool.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    prompts = [row["instruction"] + ("\n" + row["input"] if row["input"] else "") for row in rows]
    texts = [f"{prompt}\n{row['output']}" for prompt, row in zip(prompts, rows, strict=True)]
    embedder = open_embedder(encoder, cache=cache_dir())
    blocks = {
        "embedding": embedder.encode(texts).vectors,
        "lengths": lengths([len(one) for one in prompts], [len(row["output"]) for row in rows]),
    }
    np.fill_diagonal(truth, np.nan)
    labelled = ~np.isnan(truth)
    # 100 × 83 whole but for self pairs; 20 more targets have 11 labels each.
    targets, sources = np.flatnonzero(labelled.sum(1) > 40), np.flatnonzero(labelled.sum(0) > 20)
    return Pool(truth[np.ix_(targets, sources)], Features.of(blocks), targets, sources)


if __name__ == "__main__":
    main()
