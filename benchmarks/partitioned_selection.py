"""What does selecting in parts lose against exact greedy on everything?

    python benchmarks/partitioned_selection.py EMBEDDINGS.npy --n 5000 20000

Facility location by cosine on real unit rows. Each cell holds two shares of what exact greedy on
all rows reaches, counted from the smallest cosine of all pairs: with the second round among the
winners, and without it, by gain alone (what `select --path partitioned` does where the second
kernel does not fit). "random parts" is the second round's share where parts are drawn blindly, and
"random" what random picks reach (mean of 5): the zero that matters.
"""

from __future__ import annotations

import argparse

import numpy as np

from influence_store.protocols import Chosen
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.partition import by_gain, merge, part_picks, parts_of, winners_of
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import CosineView, screened

MEMORY, SHARES, PARTS = 8 << 30, (0.01, 0.05, 0.1), (4, 8, 32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings")
    parser.add_argument("--n", type=int, nargs="+", default=[5_000, 20_000])
    asked = parser.parse_args()
    whole = np.load(asked.embeddings)
    print(
        "| n | budget | random | " + " | ".join(f"{p} cells" for p in PARTS) + " | random parts |"
    )
    print("|---|---|--:|" + "--:|" * (len(PARTS) + 1))
    for n in asked.n:
        vectors = np.ascontiguousarray(whole[:n])
        view = screened(CosineView(vectors, vectors), MEMORY)
        floor = lower_bound(view)
        order = FusedGreedy().maximize(FacilityLocation(view, floor), int(max(SHARES) * n)).items
        for share in SHARES:
            budget = int(share * n)
            best = value(vectors, order[:budget], floor)
            rng = np.random.default_rng(0)
            chance = np.mean(
                [value(vectors, rng.choice(n, budget, replace=False), floor) for _ in range(5)]
            )
            cells = [f"{n:,}", f"{budget:,}", f"{chance / best:.3f}"]
            for count in PARTS:
                found = picks(vectors, budget, parts_of(vectors, count, n, 0), floor)
                cells.append(
                    " · ".join(f"{value(vectors, one, floor) / best:.4f}" for one in found)
                )
            blind = np.array_split(np.random.default_rng(0).permutation(n), PARTS[1])
            merged, _ = picks(vectors, budget, [np.sort(part) for part in blind], floor)
            cells.append(f"{value(vectors, merged, floor) / best:.4f}")
            print(f"| {' | '.join(cells)} |", flush=True)


def picks(vectors, budget, parts, floor):
    """With the second round, and without."""
    n, found = len(vectors), []
    for part in parts:
        count = winners_of(budget, len(part), n)
        one = part_picks(vectors[part], count, np.zeros(len(part), np.bool_), floor, MEMORY)
        found.append(Chosen(part[one.items], one.gains, one.evaluations))
    winners = np.sort(np.concatenate([one.items for one in found]))
    return merge(vectors, winners, budget, floor, MEMORY).items, by_gain(found, budget).items


def value(vectors, items, floor):
    chosen = vectors[items].T
    return sum(
        float((vectors[k : k + 4096] @ chosen).max(axis=1).sum(dtype=np.float64))
        for k in range(0, len(vectors), 4096)
    ) - floor * len(vectors)


if __name__ == "__main__":
    main()
