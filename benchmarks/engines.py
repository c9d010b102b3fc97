"""What does a Ray cluster on one machine cost, and what does it save?

    python benchmarks/engines.py FOLDER --data t0_50k.jsonl.gz --model SMOLLM2 --encoder MINILM

Verbs that can work on Ray, as the commands a user types, on copies of one store: by the local
engine, by one worker and by two. A worker computes with one core; so does the LLM of the local
engine here (OMP_NUM_THREADS=1), while its encoder takes all cores. Seconds by the clock for the
whole command, the start of Python and of the cluster included; "start" is what eight rows take
more by Ray than without. Speed-up is that of the work alone:

    (one worker − start) / (two workers − start)

Each copy is compared with that of the local engine: every value of every block, in order. Steps
already in FOLDER/engines.json are not measured again.
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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

CLI = [sys.executable, "-c", "from influence_store.cli import main; main()"]
ENGINES = {
    "local": [],
    "one worker": ["--engine", "ray", "--workers", "1"],
    "two workers": ["--engine", "ray", "--workers", "2"],
}
LARGE, SMALL, TINY, WIDTH = 20_000, 1_500, 8, 384


@dataclass(frozen=True)
class Job:
    """A command, the stage of the store that it starts from, and the kind of blocks it leaves."""

    name: str
    stage: str
    words: tuple[str, ...]
    kind: str


def jobs(asked):
    hashing, llm = f"hashing:{WIDTH}", ("--model", asked.model, "--max-tokens", "256")
    partitioned = ("--path", "partitioned", "--parts", "16", "--budget", "10%")
    return [
        Job(f"embed {TINY} rows", "rows", ("embed", "tiny", "--embedder", hashing), "embedding"),
        Job(f"embed {LARGE:,} rows, hashing", "rows", ("embed", "large", "--embedder", hashing),
            "embedding"),
        Job(f"embed {SMALL:,} rows, MiniLM", "rows",
            ("embed", "small", "--embedder", asked.encoder), "embedding"),
        Job("label 160 rows, perplexity", "rows",
            ("label", "small", "--method", "perplexity", "--rows", "160", *llm), "points"),
        Job("label 625 pairs, DELIFT", "rows",
            ("label", "small", "--method", "delift", "--pairs", "625", *llm), "pairs"),
        Job(f"fill {LARGE:,} rows", "estimator", ("fill", "large"), "estimate"),
        Job(f"near-duplicates of {LARGE:,} rows", "rows", ("duplicates", "large"),
            "minhash"),
        Job(f"select 10 % of {LARGE:,} in 16 parts", "vectors", ("select", "large", *partitioned),
            "selection"),
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="JSON lines, .gz")
    parser.add_argument("--model", required=True, help="folder of the LLM that labels")
    parser.add_argument("--encoder", required=True, help="folder of the sentence encoder")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    told = asked.folder / "engines.json"
    stages(asked)
    measured = json.loads(told.read_text()) if told.exists() else {}
    for job in jobs(asked):
        for engine, words in ENGINES.items():
            if engine in measured.setdefault(job.name, {}):
                continue
            measured[job.name][engine] = measure(asked.folder, job, engine, words)
            told.write_text(json.dumps(measured, indent=1) + "\n")
            print(job.name, engine, measured[job.name][engine], flush=True)
    table(measured)


def stages(asked):
    """Stores to start from, each a copy of the one before with something more in it."""
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows"
    if not rows.exists():
        store = fresh(folder / "part")
        run(store, "init")
        for name, count in (("large", LARGE), ("small", SMALL), ("tiny", TINY)):
            path = folder / f"{name}.jsonl"
            with gzip.open(asked.data, "rt") as lines, path.open("w") as out:
                out.writelines(islice(lines, count))
            run(store, "ingest", "--dataset", name, str(path))
        store.rename(rows)
    vectors = folder / "vectors"
    if not vectors.exists():
        store = copied(rows, folder / "part")
        run(store, "embed", "large", "--embedder", f"hashing:{WIDTH}")
        store.rename(vectors)
    estimator = folder / "estimator"
    if not estimator.exists():
        store = copied(vectors, folder / "part")
        llm = ("--model", asked.model, "--max-tokens", "256")
        run(store, "label", "large", "--method", "perplexity", "--rows", "100", *llm)
        run(store, "train", "large", "--method", "perplexity")
        store.rename(estimator)


def measure(folder, job, engine, words):
    """Seconds, and whether the blocks are those that the local engine left."""
    slug = "".join(char if char.isalnum() else "-" for char in job.name)
    store = copied(folder / job.stage, folder / f"{slug}.{engine.replace(' ', '-')}")
    began = time.perf_counter()
    run(store, *job.words, *words)
    seconds = time.perf_counter() - began
    same = None
    if engine != "local":
        same = contents(store, job.kind) == contents(folder / f"{slug}.local", job.kind)
        shutil.rmtree(store)
    return {"seconds": round(seconds, 2), "same": same}


def contents(folder, kind):
    """What the blocks of a kind hold, in the order of publication."""
    from influence_store.store.grid import open_block
    from influence_store.store.store import Store
    from influence_store.version import __version__

    store = Store.open(str(folder), __version__)
    blocks = [
        (block.bits, open_block(store.storage, block).take(range(block.n_rows), names).to_pydict())
        for block in store.blocks(kind)
        for names in [open_block(store.storage, block).schema.names]
    ]
    store.database.close()
    assert blocks, f"no blocks of kind {kind}"
    return blocks


def run(store, *words):
    """A command of its own process; what it says is kept beside the stores."""
    with store.parent.joinpath("said.txt").open("a") as said:
        said.write(f"\n$ {' '.join(words)}\n")
        said.flush()
        done = subprocess.run([*CLI, "--store", str(store), *words], stdout=said, stderr=said)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed, see {said.name}")


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def copied(store, to):
    """Blocks never change, so links will do; the catalog does."""
    shutil.copytree(store, fresh(to), copy_function=os.link)
    for file in to.iterdir():
        if file.is_file():
            file.unlink()
            shutil.copy2(store / file.name, file)
    return to


def table(measured):
    """For RESULTS.md."""
    tiny = measured[f"embed {TINY} rows"]
    start = tiny["two workers"]["seconds"] - tiny["local"]["seconds"]
    print(f"\nstart: {start:.1f} s\n")
    print("| command | local s | one worker s | two workers s | speed-up | two / local | same |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for name, told in measured.items():
        local, one, two = (told[engine]["seconds"] for engine in ENGINES)
        gained = f"{(one - start) / (two - start):.2f}" if two > 2 * start else "–"
        same = all(told[engine]["same"] for engine in list(ENGINES)[1:])
        print(
            f"| {name} | {local:.1f} | {one:.1f} | {two:.1f} | {gained} | {two / local:.2f} "
            f"| {'yes' if same else 'NO'} |"
        )


if __name__ == "__main__":
    main()
