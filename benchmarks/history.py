"""Is a store with a thousand versions as quick as one with ten, once it is compacted?

    python benchmarks/history.py FOLDER

Two stores with the same 20,000 rows, embedded (hashing, 16 numbers) and with one column of scores:
one got them in 10 versions, the other in 1,000, by `ingest`, `embed` and a publication of scores
each. Measured in this process are the seconds (median of 7, after one that is not counted) to

    open      open the store and resolve demo@latest
    status    all of it
    count     query: count(*)
    top 100   query: the hundred largest of a column
    old       query: count(*) of version 5
    select    k-center of 20 among 200 rows (dataset `few`: every hundredth), not asked before

before and after `compact`. FOLDER keeps the stores; an unfinished one is continued. An ingest opens
every block of samples, so that a thousand uncompacted ones take an hour to make; --compact-every
compacts on the way, and "before" then means: since the last time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.compact import compact
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.status import status
from influence_store.query import query
from influence_store.schema import tables
from influence_store.store.store import Store
from influence_store.version import __version__

ROWS, FEW, DIM, REPEATS = 20_000, 200, 16, 7


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--versions", type=int, nargs=2, default=[10, 1000])
    parser.add_argument(
        "--compact-every", type=int, default=0, help="versions; default: at the end"
    )
    asked = parser.parse_args()
    found = {}
    for n in asked.versions:
        folder = asked.folder / str(n)
        store = built(folder, n, asked.rows, asked.compact_every)
        found[n, "before"] = measured(folder, seed=0)
        print(f"{n} versions: {compact(store).lines()[0]}", flush=True)
        found[n, "after"] = measured(folder, seed=1000)
    few, many = asked.versions
    print("step      " + "".join(f"{f'{n} {when}':>14}" for n, when in found) + "     ratio")
    for step in found[few, "after"]:
        times = "".join(f"{seconds[step]:13.3f}s" for seconds in found.values())
        print(f"{step:<10}{times}{found[many, 'after'][step] / found[few, 'after'][step]:10.2f}")


def built(folder, n, rows, compact_every):
    """A store whose dataset `demo` came in `n` versions of equal size."""
    folder.mkdir(parents=True, exist_ok=True)
    store, _ = Store.init(folder / "store", __version__)
    producer = store.producer("points", "score", {"outputs": ["score"]})
    per = rows // n
    done = sum(name == "demo" for name, _ in store.version_names())
    began = time.perf_counter()
    for version in range(done, n):
        path = folder / "rows.jsonl"
        path.write_text("".join(line(version * per + k) for k in range(per)))
        report = ingest(store, [str(path)], "demo")
        made = store.version(f"demo@{report.version}")
        embed(store, made, HashingEmbedder(DIM), f"hashing:{DIM}")
        scored(store, producer, made)
        if compact_every and (version + 1) % compact_every == 0 and version + 1 < n:
            compact(store)
        if (version + 1) % 100 == 0:
            rate = (time.perf_counter() - began) / (version + 1 - done)
            print(f"{version + 1} versions, {rate:.2f} s each", flush=True)
    path = folder / "few.jsonl"
    path.write_text("".join(line(k) for k in range(0, rows, rows // FEW)))
    ingest(store, [str(path)], "few")
    return store


def line(k):
    words = " ".join(f"w{(k * 7919 + j * 104_729) % 5000}" for j in range(12))
    return json.dumps({"instruction": f"Question {k}: {words}?", "output": f"{words}."}) + "\n"


def scored(store, producer, version):
    missing = store.missing(version, producer)
    sids = np.asarray(missing.to_array(), np.int64)
    scores = np.random.default_rng(int(sids[0])).random(len(sids))
    columns = [
        pa.array(sids),
        pa.array(scores),
        pa.array(np.ones(len(sids), np.int64)),
        pa.array(np.zeros(len(sids), np.bool_)),
    ]
    batch = pa.record_batch(columns, schema=tables.points(("score",)))
    with store.claim("label", "label:demo", {"dataset": str(version)}) as run:
        bits = BitMap(missing)
        run.publish([run.stage("points", [batch], batch.schema, bits, producer_id=producer.id)])


def measured(folder, seed):
    store = Store.open(folder / "store", __version__)
    seeds = iter(range(seed, seed + 100))

    def opened():
        other = Store.open(folder / "store", __version__)
        other.version("demo")
        other.database.close()

    top = "select sample_id, inf_score from demo order by inf_score desc limit 100"
    steps = {
        "open": opened,
        "status": lambda: status(store),
        "count": lambda: query(store, "select count(*) from demo"),
        "top 100": lambda: query(store, top),
        "old": lambda: query(store, 'select count(*) from "demo@5"'),
        "select": lambda: choose(store, "few", k_center(next(seeds)), {}),
    }
    return {name: median_seconds(step) for name, step in steps.items()}


def k_center(seed):
    return Asked(budget="20", objective="k-center", seed=seed)


def median_seconds(step):
    step()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
