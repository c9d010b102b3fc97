"""What does every verb take as a store grows to a million rows?

    python benchmarks/scale.py FOLDER --data t0_50k.jsonl.gz --model SMOLLM2

One store per size, made of real instruction texts: every text once, then copies of it in which one
word in ten is another text's word, until the size is reached. Every step is the command a user
types, in a process of its own: seconds by the clock, CPU seconds of it and its children, and the
largest resident memory of any one of them (Linux).

    ingest    the JSON lines
    embed     hashing, 384 numbers: the embedder that needs no model
    label     perplexity of 150 rows by a small LLM; larger stores pull these from the smallest
    train     an estimator of these
    fill      the rest, through ONNX Runtime
    query     count; the hundred largest; their texts too; a mean by source
    select    1 % by facility location, the first time and again with another budget
    export    that selection
    verify    sizes and row counts, then --deep: every byte
    version   1,000 new rows arrive: ingest, which embeds and fills them
    duplicates (with --duplicates) near copies by MinHash

Beside them, in one process each, what the parts alone take: the same texts and vectors appended to
a raw LanceDB table, and written as Parquet (zstd). Everything measured goes to FOLDER/scale.json,
step by step; a run that was stopped goes on. `benchmarks/cost_model.py` makes docs/scale.md of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

NEW_ROWS, DIM, CHANGED, BATCH = 1_000, 384, 0.1, 8_192
LABELLED = 150
CLI = [sys.executable, "-c", "from influence_store.cli import main; main()"]
QUERIES = {
    "query: count": "select count(*) from data",
    "query: best 100": "select sample_id, est_perplexity from data "
    "order by est_perplexity desc limit 100",
    "query: best 100 with texts": "select sample_id, est_perplexity, prompt, response from data "
    "order by est_perplexity desc limit 100",
    "query: mean by file": "select file, avg(est_perplexity), count(*) from data group by file",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, help="JSON lines, .gz: instruction, input, output")
    parser.add_argument("--model", help="folder of the small LLM that labels")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--duplicates", action="store_true")
    parser.add_argument(
        "--version-again", action="store_true", help="other new rows for the stores as they stand"
    )
    parser.add_argument("--raw", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.raw:
        kind, size = asked.raw
        rows = asked.folder / f"{size}.jsonl"
        if kind == "rows":
            write_rows(asked.data, rows, int(size))
        elif kind == "new":
            write_new_rows(asked.data, rows)
        else:
            raw(kind, rows, asked.folder / "raw")
        return
    if asked.version_again:
        for size in asked.sizes:
            another_version(Measured(asked.folder / "scale.json", size), asked)
        return
    labels = None
    for size in asked.sizes:
        labels = grow(Measured(asked.folder / "scale.json", size), asked, labels)


class Measured:
    """The steps of one size, each told to the file as soon as it is done."""

    def __init__(self, path, size):
        self.path, self.size = path, size

    def known(self):
        """All that is measured, and the part of this size."""
        facts = json.loads(self.path.read_text()) if self.path.exists() else {}
        return facts, facts.setdefault(str(self.size), {})

    def keep(self, step, told):
        facts, mine = self.known()
        mine[step] = told
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(facts, indent=1) + "\n")
        part.replace(self.path)
        cost = f"{told.get('wall', 0):9.2f} s {told.get('cpu', 0):9.2f} CPU s"
        print(f"{self.size:>9,}  {step:<28} {cost} {told.get('peak_mb', 0):8,.0f} MB", flush=True)

    def forget(self, step):
        facts, mine = self.known()
        mine.pop(step, None)
        self.path.write_text(json.dumps(facts, indent=1) + "\n")

    def step(self, name, command, **more):
        """Run a command unless it was, and tell what it took."""
        if name in self.known()[1]:
            return
        began = time.perf_counter()
        with open(self.path.with_name("said.txt"), "a") as said:
            said.write(f"\n$ {name} of {self.size}\n")
            said.flush()
            child = subprocess.Popen(command, stdout=said, stderr=said)
            _, state, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(state)
        if child.returncode:
            raise SystemExit(f"{name} of {self.size:,} failed, see {said.name}")
        self.keep(
            name,
            {
                "wall": round(time.perf_counter() - began, 3),
                "cpu": round(used.ru_utime + used.ru_stime, 3),
                "peak_mb": round(used.ru_maxrss / 1024, 1),
                **{key: measure() for key, measure in more.items()},
            },
        )


def grow(measured, asked, labels):
    """All steps at one size; `labels`: the store that has them, or None. This store."""
    folder, size = asked.folder, measured.size
    rows, new = folder / f"{size}.jsonl", folder / f"{size}-new.jsonl"
    # In another process: a child's peak counts what its parent held when it was started.
    here = [sys.executable, __file__, str(folder), "--data", str(asked.data), "--raw"]
    measured.step("rows", [*here, "rows", str(size)], bytes=lambda: rows.stat().st_size)
    store = folder / f"store-{size}"
    tool = [*CLI, "--store", str(store)]
    if "init" not in measured.known()[1]:
        shutil.rmtree(store, ignore_errors=True)
    measured.step("init", [*tool, "init"])

    def store_bytes():
        return bytes_under(store)

    measured.step("ingest", [*tool, "ingest", "--dataset", "data", str(rows)], bytes=store_bytes)
    measured.step(
        "embed", [*tool, "embed", "data", "--embedder", f"hashing:{DIM}"], bytes=store_bytes
    )
    if labels is None:
        label = ["label", "data", "--method", "perplexity", "--model", asked.model]
        measured.step("label", [*tool, *label, "--rows", str(LABELLED), "--max-tokens", "256"])
    else:
        measured.step("pull", [*tool, "pull", str(labels), "--only", "perplexity"])
    measured.step("train", [*tool, "train", "data", "--method", "perplexity"])
    measured.step("fill", [*tool, "fill", "data", "--estimator", "perplexity"], bytes=store_bytes)
    for name, statement in QUERIES.items():
        measured.step(name, [*tool, "--json", "query", statement])
    lock = folder / f"{size}.lock"
    pick = [*tool, "select", "data", "--budget", "1%", "--lock", str(lock)]
    measured.step("select", pick, bytes=store_bytes)
    measured.step("select again", [*tool, "select", "data", "--budget", "5%"])
    out = folder / f"out-{size}"
    shutil.rmtree(out, ignore_errors=True)
    measured.step("export", [*tool, "export", selected(lock), "-o", str(out)])
    measured.step("verify", [*tool, "verify"])
    measured.step("verify --deep", [*tool, "verify", "--deep"])
    if asked.duplicates:
        measured.step("duplicates", [*tool, "duplicates", "data"])
    measured.step("version", [*tool, "ingest", "--dataset", "data", str(new)], bytes=store_bytes)
    for kind in ("lancedb", "parquet"):
        shutil.rmtree(folder / "raw", ignore_errors=True)
        measured.step(
            f"raw {kind}", [*here, kind, str(size)], bytes=lambda: bytes_under(folder / "raw")
        )
    return store


def another_version(measured, asked):
    """The step `version` once more; its rows are copies of the first thousand texts."""
    folder, size = asked.folder, measured.size
    here = [sys.executable, __file__, str(folder), "--data", str(asked.data), "--raw"]
    subprocess.run([*here, "new", str(size)], check=True)
    store, new = folder / f"store-{size}", folder / f"{size}-new.jsonl"
    measured.forget("version")
    command = [*CLI, "--store", str(store), "ingest", "--dataset", "data", str(new)]
    measured.step("version", command, bytes=lambda: bytes_under(store))


def selected(lock):
    return str(json.loads(lock.read_text())["selection"])


def bytes_under(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def write_rows(data, rows, size):
    """`size` rows and a thousand more: the texts, then copies with other words in them."""
    originals, words = texts(data)
    rng = np.random.default_rng(0)
    for path, first, count in ((rows, 0, size), (new_rows(rows), size, NEW_ROWS)):
        at = range(first, first + count)
        write(path, (
            row if k < len(originals) else changed(row, words, rng)
            for k in at for row in [originals[k % len(originals)]]
        ))  # fmt: skip


def write_new_rows(data, rows):
    """A thousand rows that no store has: drawn by the clock."""
    originals, words = texts(data)
    rng = np.random.default_rng(time.time_ns())
    write(new_rows(rows), (changed(row, words, rng) for row in originals[:NEW_ROWS]))


def new_rows(rows):
    return rows.with_name(f"{rows.stem}-new.jsonl")


def texts(data):
    """The rows of the data, and all words of their outputs and inputs."""
    with gzip.open(data, "rt") as lines:
        originals = [json.loads(line) for line in lines]
    words = " ".join(one["output"] + " " + one["input"] for one in originals).split()
    return originals, np.array(words)


def write(path, rows):
    part = path.with_suffix(".part")
    with part.open("w") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
    part.rename(path)


def changed(row, words, rng):
    """The row with one word in ten (at least one) of each text replaced."""
    return {key: row[key] if key == "source" else other(row[key], words, rng) for key in row}


def other(text, words, rng):
    parts = text.split(" ")
    if parts != [""]:
        which = rng.integers(len(parts), size=max(1, int(CHANGED * len(parts))))
        for at, word in zip(which.tolist(), rng.choice(words, len(which)).tolist(), strict=True):
            parts[at] = word
    return " ".join(parts)


def raw(kind, rows, folder):
    """The same texts with a vector and a number each, written by the part alone."""
    import pyarrow as pa

    dim = DIM
    names = ("instruction", "input", "output", "source")
    schema = pa.schema(
        [pa.field(name, pa.string()) for name in names]
        + [pa.field("vector", pa.list_(pa.float32(), dim)), pa.field("value", pa.float32())]
    )

    def batches():
        rng = np.random.default_rng(0)
        with rows.open() as lines:
            while some := [json.loads(line) for _, line in zip(range(BATCH), lines, strict=False)]:
                vectors = rng.normal(size=(len(some), dim)).astype(np.float32)
                columns = [pa.array([one[name] for one in some]) for name in names]
                flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
                values = pa.array(vectors[:, 0])
                yield pa.record_batch([*columns, flat, values], schema=schema)

    if kind == "lancedb":
        import lancedb

        made = pa.RecordBatchReader.from_batches(schema, batches())
        lancedb.connect(folder).create_table("data", made)
        return
    import pyarrow.parquet as pq

    folder.mkdir(exist_ok=True)
    with pq.ParquetWriter(folder / "data.parquet", schema, compression="zstd") as out:
        for batch in batches():
            out.write_batch(batch)


if __name__ == "__main__":
    main()
