"""How fast and how lean is facility location beside submodlib and apricot, kernel included?

    python benchmarks/selection_peers.py --vectors STORE:DATASET --n 5000 10000 20000 50000

Facility location by cosine at budgets of 5, 10 and 30 %, on the stored embeddings of a dataset
(or an .npy file of unit rows; without either, on made-up clusters). Every contender works in a
process of its own, after a warm-up on 200 rows that pays for imports and compilation: seconds from
vectors to picks, the better of --repeats runs, and the peak memory of the process (Linux). A peer
is measured where it is installed (pip install 'influence-store[peers]') and where it fits. apricot
makes its own kernel, by cosine. submodlib appears twice: as its users call it (data=…,
metric="cosine"), and with a kernel handed in that we made as one float32 matrix product.
Objectives are computed from the picks in float64.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

CLUSTERS, WIDTH = 60, 384
SHARES = (0.05, 0.1, 0.3)
OURS, APRICOT = "influence-store", "apricot"
OWN_KERNEL, HANDED = "submodlib, its own kernel", "submodlib, kernel handed in"
#: The package, bytes per pair at its peak, and up to how many samples one waits for it.
CONTENDERS = {
    OURS: (None, 5, 60_000),
    HANDED: ("submodlib", 13, 20_000),
    OWN_KERNEL: ("submodlib", 13, 10_000),
    APRICOT: ("apricot", 17, 20_000),
}
MEMORY = 20 << 30


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", help="STORE:DATASET or FILE.npy")
    parser.add_argument("--n", type=int, nargs="+", default=[5_000])
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--peers-up-to", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", nargs=3, metavar=("NAME", "FILE", "BUDGET"))
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], asked.child[1], int(asked.child[2]), asked.repeats)
        return
    whole = vectors_of(asked.vectors, max(asked.n))
    print("| n | budget | contender | s | CPU s | peak MB | f / ours | × ours |")
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for n in asked.n:
            file = Path(folder) / f"{n}.npy"
            np.save(file, whole[:n])
            for share in asked.shares:
                rows(file, n, int(share * n), asked)


def vectors_of(source, n):
    """Unit rows (≥ n, d) float32."""
    if source is None:
        return clustered_vectors(n)
    if source.endswith(".npy"):
        return np.load(source)
    from influence_store.jobs.embed import embedder_of
    from influence_store.store.store import Store
    from influence_store.version import __version__

    root, _, dataset = source.rpartition(":")
    store = Store.open(Path(root), __version__)
    version = store.version(dataset)
    return store.vectors(embedder_of(store, version), version.sids)


def clustered_vectors(n):
    """(n, 384) unit rows in 60 clusters; the same for every run."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, WIDTH))
    vectors = centres[rng.integers(CLUSTERS, size=n)] + 1.2 * rng.normal(size=(n, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rows(file, n, budget, asked):
    """One line per contender, ours first."""
    vectors = np.load(file)
    base = None
    for name, (library, per_pair, up_to) in CONTENDERS.items():
        if library and (find_spec(library) is None or n > asked.peers_up_to):
            continue
        if per_pair * n * n > MEMORY or n > up_to:
            print(f"| {n:,} | {budget:,} | {name} | not run: {up_to:,} samples at most ||||")
            continue
        command = [sys.executable, __file__, "--child", name, str(file), str(budget)]
        command += ["--repeats", str(asked.repeats if name != OWN_KERNEL else 1)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout.splitlines()[-1])
        told["f"] = objective(vectors, np.array(told["items"]))
        base = base or told
        print(
            f"| {n:,} | {budget:,} | {name} | {told['wall']:.2f} | {told['cpu']:.2f} "
            f"| {told['peak']:,.0f} | {told['f'] / base['f']:.7f} "
            f"| {told['wall'] / base['wall']:.1f} |",
            flush=True,
        )


def objective(vectors, items):
    """Σ_i max_{j chosen} ⟨x_i, x_j⟩ in float64."""
    total, chosen = 0.0, vectors[items].astype(np.float64).T
    for start in range(0, len(vectors), 2_000):
        total += float((vectors[start : start + 2_000] @ chosen).max(axis=1).sum())
    return total


def child(name, file, budget, repeats):
    """Warm up, select, and tell: seconds, CPU seconds, peak megabytes, picks."""
    run = {OURS: ours, OWN_KERNEL: submodlib_alone, HANDED: submodlib, APRICOT: apricot}[name]
    run(clustered_vectors(200), 20)
    vectors = np.load(file)
    laps = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        items = run(vectors, budget)
        laps.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(laps)
    told = {"wall": wall, "cpu": cpu, "peak": peak_megabytes(), "items": np.asarray(items).tolist()}
    print(json.dumps(told))


def peak_megabytes():
    """The most this process ever held; ru_maxrss would count its parent's too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(one for one in status if one.startswith("VmHWM")).split()[1]) / 1024


def ours(vectors, budget):
    from influence_store.selection.engine.fused import FusedGreedy
    from influence_store.selection.functions.facility_location import FacilityLocation
    from influence_store.selection.tiles import lower_bound
    from influence_store.selection.views import CosineView, screened

    view = screened(CosineView(vectors, vectors), 1 << 40)
    return FusedGreedy().maximize(FacilityLocation(view, lower_bound(view)), budget).items


def submodlib(vectors, budget):
    from submodlib import FacilityLocationFunction

    kernel = vectors @ vectors.T
    kernel -= kernel.min()  # it starts its running maximum at 0
    function = FacilityLocationFunction(
        n=len(vectors), mode="dense", sijs=kernel, separate_rep=False
    )
    return picks_of(function, budget)


def submodlib_alone(vectors, budget):
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(
        n=len(vectors), mode="dense", data=vectors, metric="cosine", separate_rep=False
    )
    return picks_of(function, budget)


def picks_of(function, budget):
    picks = function.maximize(
        budget=budget,
        optimizer="LazyGreedy",
        stopIfZeroGain=False,
        stopIfNegativeGain=False,
        show_progress=False,
    )
    return [item for item, _ in picks]


def apricot(vectors, budget):
    from apricot import FacilityLocationSelection

    selector = FacilityLocationSelection(budget, metric="cosine", optimizer="lazy")
    return selector.fit(vectors).ranking


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
