"""Is a store with a hundred estimators as quick as one with a single one?

    python benchmarks/many_estimators.py FOLDER

Two stores with the same 20,000 rows (hashing, 16 numbers) of which 500 have an imported score: one
has 1 estimator of that score, trained and filled, the other 100. All by the commands a user types,
in this process. Seconds (median of 7, after one that is not counted) to

    open      open the store and resolve the head
    status    all of it
    plan      what is fresh, stale and missing
    top 100   query: the hundred largest of the first estimate
    join      query: the correlation of the first and the last estimate
    new rows  ingest of 100 more, which embeds and fills them: every estimator has its column to
              fill, so this one must grow; it is told per estimator too
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from click.testing import CliRunner
from history import median_seconds

from influence_store.cli import cli
from influence_store.store.store import Store
from influence_store.version import __version__

MANIFEST = {
    "kind": "pointwise",
    "method": "foreign",
    "higher_means": "helpful",
    "model_id": "none",
    "model_revision": None,
    "dtype": "float64",
    "template_id": None,
    "tokenizer_hash": None,
    "max_len": 512,
    "seed": 0,
    "code_version": "1",
}
ROWS, SCORED, NEW = 20_000, 500, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--estimators", type=int, nargs=2, default=[1, 100])
    asked = parser.parse_args()
    found = {n: measured(built(asked.folder / str(n), n), n) for n in asked.estimators}
    few, many = asked.estimators
    print(f"{'step':<26}{few:>10}{many:>10}     ratio")
    for step, seconds in found[few].items():
        other = found[many][step]
        print(f"{step:<26}{seconds:>9.3f}s{other:>9.3f}s{other / seconds:10.2f}")


def tool(store, *arguments):
    """The JSON of a command."""
    done = CliRunner().invoke(
        cli, ["--store", str(store), "--json", *arguments], standalone_mode=False
    )
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def built(folder, n):
    """A store with `n` estimators, made unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    if not store.exists():
        tool(store, "init")
        tool(store, "ingest", "--dataset", "data", write(folder / "rows.jsonl", range(ROWS)))
        tool(store, "embed", "data", "--embedder", "hashing:16")
        imported(store, folder)
    for k in range(tool(store, "status")["estimators"], n):
        name = f"e{k}"
        taught = ["--method", "foreign", "--network", "ridge", "--seed", str(k), "--name", name]
        tool(store, "train", "data", *taught)
        tool(store, "fill", "data", "--estimator", name)
        print(f"{name} of {n}", flush=True)
    return store


def write(path, numbers):
    words = [f"w{k}" for k in range(5000)]
    rng = np.random.default_rng(0)
    with path.open("w") as out:
        for k in numbers:
            said = " ".join(words[i] for i in rng.integers(len(words), size=12))
            out.write(json.dumps({"instruction": f"Question {k}: {said}?", "output": said}) + "\n")
    return str(path)


def imported(store, folder):
    """Scores of 500 rows that follow the length of the prompt, with noise."""
    asked = f"select sample_id, length(prompt) n from data order by sample_id limit {SCORED}"
    rows = pl.DataFrame(tool(store, "query", asked))
    noise = np.random.default_rng(0).normal(size=len(rows))
    rows.select("sample_id", foreign=pl.col("n") + noise).write_parquet(folder / "scores.parquet")
    (folder / "scores.json").write_text(json.dumps(MANIFEST))
    told = ["--format", "parquet", "--identity", str(folder / "scores.json")]
    tool(store, "import", str(folder / "scores.parquet"), *told)


def measured(store, n):
    def opened():
        other = Store.open(store, __version__)
        other.version("data")
        other.database.close()

    first, last = "est_e0", f"est_e{n - 1}"
    top = f"select sample_id, {first} from data order by {first} desc limit 100"
    steps = {
        "open": opened,
        "status": lambda: tool(store, "status"),
        "plan": lambda: tool(store, "plan"),
        "top 100": lambda: tool(store, "query", top),
        "join": lambda: tool(store, "query", f"select corr({first}, {last}) c from data"),
    }
    seconds = {name: median_seconds(step) for name, step in steps.items()}
    count = tool(store, "query", "select count(*) n from data")[0]["n"]
    new = write(store.with_name("new.jsonl"), range(count, count + NEW))
    began = time.perf_counter()
    tool(store, "ingest", "--dataset", "data", new)
    seconds["new rows"] = time.perf_counter() - began
    seconds["new rows, per estimator"] = seconds["new rows"] / n
    return seconds


if __name__ == "__main__":
    main()
