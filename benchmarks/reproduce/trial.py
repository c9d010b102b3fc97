"""From raw rows to a verdict: does a selection of GSM8K + alpaca train a small LLM better?

    python benchmarks/reproduce/trial.py --data DATA --llm LLM --encoder ENCODER --folder FOLDER

DATA holds gsm8k_train.jsonl.gz and alpaca_demo.jsonl.gz (instruction, input, output), LLM is the
GGUF or folder of SmolLM2-135M-Instruct, ENCODER the folder of all-MiniLM-L6-v2. Two selections of
a fifth of 300 short rows, half of either kind, are tried on 80 other rows: what `select` does by
itself after 324 DELIFT labels (an estimator that is no better than the mean gives way to cosine),
and the highest IFD below 1. Every command is printed before it runs. What
FOLDER holds already is not done again: a stopped run goes on, a finished one only prints.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path

SOURCES = ("gsm8k_train", "alpaca_demo")
POOL, EXAM, LONGEST = 150, 40, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "llm", "encoder", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    llm, encoder = str(given.llm.resolve()), str(given.encoder.resolve())

    def run(*words: str) -> str:
        print(f"$ influence-store {shlex.join(words)}", flush=True)
        line = [sys.executable, "-m", "influence_store.cli", *words]
        told = subprocess.run(line, cwd=given.folder, stdout=subprocess.PIPE, text=True, check=True)
        print(told.stdout, flush=True)
        return told.stdout

    for name, rows in datasets(given.data).items():
        path = given.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("init")
    for name in ("pool", "exam"):
        run("ingest", f"{name}.jsonl", "--dataset", name)
        run("embed", name, "--embedder", encoder)
    run("label", "pool", "--model", llm, "--pairs", "324", "--max-response-tokens", "12")
    run("label", "pool", "--method", "ifd", "--model", llm, "--rows", "all")
    run("train", "pool")
    run("fill", "pool")
    ids = [
        selected(run("select", "pool", "--budget", "20%", *how))
        for how in ((), ("--objective", "top", "--by", "inf_ifd_below_1"))
    ]
    asked = [word for one in ids for word in ("--selection", one)]
    judge = ("--holdout", "exam", "--arms")
    run("trial", "pool", *asked, *judge, "random,length,top,cosine-fl,full", "--probe")
    few = ("random,full,untrained", "--seeds", "3", "--random", "1", "--set", "step_tokens=800")
    said = ("--max-tokens", "160", "--generate", "8", "--answer-tokens", "48")
    run("trial", "pool", *asked, *judge, *few, "--model", llm, *said)


def datasets(data: Path) -> dict[str, list[dict]]:
    """Short rows in a seeded order: as many of each source in the pool, and in the exam."""
    found: dict[str, list[dict]] = {"pool": [], "exam": []}
    for source in SOURCES:
        with gzip.open(data / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        short = [one for one in rows if sum(len(one[key]) for key in KEYS) <= LONGEST]
        random.Random(0).shuffle(short)
        found["pool"] += short[:POOL]
        found["exam"] += short[POOL : POOL + EXAM]
    return found


KEYS = ("instruction", "input", "output")


def selected(told: str) -> str:
    """The id in what `select` said."""
    return next(line for line in told.splitlines() if line.startswith("selection ")).split()[1][:-1]


if __name__ == "__main__":
    main()
