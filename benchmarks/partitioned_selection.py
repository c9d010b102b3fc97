"""What does selecting in parts lose against exact greedy on everything?

    python benchmarks/partitioned_selection.py EMBEDDINGS.npy --n 5000 20000

Facility location by cosine on real unit rows. Each cell is the objective of the picks over that of
exact greedy on all rows, both counted from the smallest cosine of all pairs; beside it what random
picks reach (mean of 5), which is the zero that matters. Seconds are CPU seconds of all parts and of
the second round.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.partition import merge, part_picks, share_of, split, targets_for
from influence_store.selection.plan import BYTES_PER_PAIR
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import CosineView, DenseView

MEMORY, SHARES, PARTS = 8 << 30, (0.01, 0.05, 0.1), (4, 8, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings")
    parser.add_argument("--n", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--merge-memory", type=int, default=MEMORY, help="of the second round")
    asked = parser.parse_args()
    whole = np.load(asked.embeddings)
    print("| n | budget | exact s | random | " + " | ".join(f"{p} parts" for p in PARTS) + " |")
    print("|---|---|--:|--:|" + "--:|" * len(PARTS))
    for n in asked.n:
        vectors = np.ascontiguousarray(whole[:n])
        view = DenseView.of(CosineView(vectors, vectors), MEMORY)
        floor = lower_bound(view)
        began = time.process_time()
        order = FusedGreedy().maximize(FacilityLocation(view, floor), int(max(SHARES) * n)).items
        spent = time.process_time() - began
        for share in SHARES:
            budget = int(share * n)
            best = value(vectors, order[:budget], floor)
            rng = np.random.default_rng(0)
            chance = np.mean(
                [value(vectors, rng.choice(n, budget, replace=False), floor) for _ in range(5)]
            )
            cells = [f"{n:,}", f"{budget:,}", f"{spent:.1f}", f"{chance / best:.3f}"]
            for parts in PARTS:
                began = time.process_time()
                items = picks(vectors, budget, parts, asked.merge_memory)
                took = time.process_time() - began
                cells.append(f"{value(vectors, items, floor) / best:.4f} ({took:.1f} s)")
            print(f"| {' | '.join(cells)} |", flush=True)


def picks(vectors, budget, parts, memory):
    n, nobody = len(vectors), np.zeros(len(vectors), np.bool_)
    winners = np.concatenate(
        [
            part[part_picks(vectors[part], share_of(budget, len(part), n), nobody[part], MEMORY)]
            for part in split(n, parts, 0)
        ]
    )
    count = targets_for(len(winners), n, memory, BYTES_PER_PAIR)
    targets = np.sort(np.random.default_rng(1).choice(n, count, replace=False))
    return winners[merge(vectors[winners], vectors[targets], budget, n, MEMORY).items]


def value(vectors, items, floor):
    chosen = vectors[items].T
    return sum(
        float((vectors[k : k + 4096] @ chosen).max(axis=1).sum(dtype=np.float64))
        for k in range(0, len(vectors), 4096)
    ) - floor * len(vectors)


if __name__ == "__main__":
    main()
