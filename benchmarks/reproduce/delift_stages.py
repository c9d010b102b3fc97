"""DELIFT's three stages as three `select` commands, each judged by a trial beside random rows.

    python benchmarks/reproduce/delift_stages.py FOLDER --data DATA

DATA holds gsm8k_train.jsonl.gz, alpaca_demo.jsonl.gz and t0_50k.jsonl.gz (instruction, input,
output). The kernel is the cosine of stored embeddings (DELIFT(SE), all-MiniLM-L6-v2): no LLM.
Every seed is a store FOLDER/SEED with another draw of short rows:

    pool      60 of each source, of which every stage selects 30 %
    mixed     25 of each source, who judge stage 1 (instruction tuning)
    aims      16 of GSM8K, `--target` of stage 2, which `maths`, 50 others of GSM8K, judge
    past      60 of GSM8K, `--given` in stage 3, which `new`, 25 of each other source, judge

Prints Markdown. What is done is not done again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from in_process import Verbs, Words, folder_of_steps
from pruning_curves import interval

import influence_store.api
from influence_store.demo.models import demo_embedder

SOURCES = ("gsm8k_train", "alpaca_demo", "t0_50k")
LONGEST = 300  # characters of prompt and response together
MATHS, OTHERS = SOURCES[:1], SOURCES[1:]
#: Rows of each dataset per source.
ROWS = {
    "pool": dict.fromkeys(SOURCES, 60),
    "mixed": dict.fromkeys(SOURCES, 25),
    "aims": dict.fromkeys(MATHS, 16),
    "maths": dict.fromkeys(MATHS, 50),
    "past": dict.fromkeys(MATHS, 60),
    "new": dict.fromkeys(OTHERS, 25),
}
#: Stage → what is said to `select` besides the budget, and who judges.
STAGES = {
    "1 instruction tuning, facility location": ((), "mixed"),
    "2 target, FLQMI": (("--target", "aims"), "maths"),
    "2 target, FL1MI": (("--target", "aims", "--objective", "fl1mi"), "maths"),
    "3 given, FLCG": (("--given", "past"), "new"),
}
SELECT = ("select", "pool", "--budget", "30%", "--kernel", "cosine")
TRIAL = ("--probe", "--arms", "random,length,full", "--seeds", 3, "--random", 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=folder_of_steps)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    encoder = demo_embedder(given.folder)
    short = {source: short_rows(given.data / f"{source}.jsonl.gz") for source in SOURCES}
    maths = {row["instruction"] for source in MATHS for row in short[source]}
    reports: dict[str, list[dict]] = {stage: [] for stage in STAGES}
    for seed in range(given.seeds):
        write_data(short, given.folder / f"data-{seed}", seed)
        verbs = Verbs(given.folder, str(seed))
        for step in prepared(given.folder / f"data-{seed}", encoder):
            verbs(*step)
        for stage, report in trials(verbs, maths).items():
            reports[stage].append(report)
    print_table(reports)
    print_runs(reports)


def short_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    fields = ("instruction", "input", "output")
    return [row for row in rows if sum(len(row[field]) for field in fields) <= LONGEST]


def write_data(short: dict[str, list[dict[str, str]]], folder: Path, seed: int) -> None:
    """No row is in two datasets."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    drawn = {source: iter(rng.sample(rows, 300)) for source, rows in short.items()}
    for name, counts in ROWS.items():
        rows = [next(drawn[source]) for source, count in counts.items() for _ in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def prepared(folder: Path, encoder: Path) -> Iterator[Words]:
    yield ("init",)
    for name in ROWS:
        yield "ingest", folder / f"{name}.jsonl", "--dataset", name
        yield "embed", name, "--embedder", encoder


def trials(verbs: Verbs, maths: set[str]) -> dict[str, dict]:
    """What each stage's trial reports, with the share of maths among the picks.

    Known selections and models are found again by the store, so both verbs are simply asked.
    """
    found = {}
    for stage, (how, judge) in STAGES.items():
        chosen = verbs.asked(*SELECT, *how)["id"]
        asked = ("trial", "pool", "--selection", chosen, "--holdout", judge, *TRIAL)
        report = verbs.asked(*asked)
        with influence_store.api.open(verbs.folder / verbs.store) as store:
            picks = store.selected(chosen).polars()["prompt"].to_list()
        share = float(np.mean([prompt in maths for prompt in picks]))
        found[stage] = {**report, "maths": share}
    return found


def against(report: dict, kind: str) -> dict:
    return next(one for one in report["comparisons"] if one["baseline"] == kind)


def print_table(reports: dict[str, list[dict]]) -> None:
    """Over draws: losses, and the mean difference with Student's interval."""
    print("\n| stage | maths in picks | loss | random − it | length − it | all data − it |")
    print("|---|--:|--:|--:|--:|--:|")
    for stage, found in reports.items():
        losses = [one["arms"][0]["loss"] for one in found]
        gaps = [
            interval([against(one, kind)["mean"] for one in found])
            for kind in ("random", "length", "full")
        ]
        maths = np.mean([one["maths"] for one in found])
        print(f"| {stage} | {maths:.0%} | {np.mean(losses):.4f} | " + " | ".join(gaps) + " |")


def print_runs(reports: dict[str, list[dict]]) -> None:
    """Every draw's own verdict against random."""
    print("\n| stage | draw | maths in picks | random − it | 95 % interval | verdict |")
    print("|---|--:|--:|--:|---|---|")
    for stage, found in reports.items():
        for seed, one in enumerate(found):
            told = against(one, "random")
            low, high = told["low"], told["high"]
            print(
                f"| {stage} | {seed} | {one['maths']:.0%} | {told['mean']:+.4f} "
                f"| {low:+.4f} … {high:+.4f} | {told['words'].partition(':')[0]} |"
            )


if __name__ == "__main__":
    main()
