"""NN-CIFT's comparison at small scale: four teachers, each with and without an estimator.

    python benchmarks/reproduce/four_teachers.py FOLDER --data DATA

DATA holds gsm8k_train.jsonl.gz and alpaca_demo.jsonl.gz (instruction, input, output). Everything
else happens with verbs of the command line, which are printed as they run and logged in
FOLDER/steps.txt; a stopped run goes on where it was. Two stores come out:

    FOLDER/seed   a tenth of the pairs and a fifth of the rows labelled, estimators, filled columns:
                  what somebody who saves labels would have; its `log --cost` is the ledger
    FOLDER/full   a copy of it in which every pair and row is labelled too: the teachers themselves,
                  and the selections of 30 % by each of them

FOLDER/selections.json names the selections. The last two steps are trials of all of them against
random sets and all data: with the probe (minutes), then with the LLM fine-tuned (an hour or two).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

from in_process import Verbs, Words, folder_of_steps

from influence_store.demo.models import demo_embedder, demo_llm

#: Rows of each source in each dataset; a pair costs its tokens, so only short rows are taken.
ROWS = {"pool": 100, "aims": 16, "exam": 50}
SOURCES = ("gsm8k_train", "alpaca_demo")
LONGEST = 300  # characters of prompt and response together
RESPONSE_TOKENS = 24
SEED_PAIRS, SEED_ROWS = 640, 40
BUDGET = "30%"
#: One fine-tuning run, whose two checkpoints LESS reads.
CHECKPOINTS = [
    *("--warmup", "20%", "--set", "n_checkpoints=2", "--set", "epochs=2"),
    *("--set", "dim=1024", "--set", "learning_rate=2e-4"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=folder_of_steps)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    write_data(given.data, given.folder)
    llm, encoder = demo_llm(given.folder), demo_embedder(given.folder)
    seed, full = Verbs(given.folder, "seed"), Verbs(given.folder, "full")
    for step in (*prepared(given.folder, encoder), *seeded(llm), ("backup", given.folder / "copy")):
        seed(*step)
    for step in (("restore", given.folder / "copy"), *labelled(llm)):
        full(*step)
    selections = {name: full.asked(*asked)["id"] for name, asked in selected().items()}
    (given.folder / "selections.json").write_text(json.dumps(selections, indent=1) + "\n")
    named = [word for one in selections.values() for word in ("--selection", one)]
    for how in trials(llm):
        full("trial", "pool", *named, "--holdout", "exam", *how)


def write_data(data: Path, folder: Path) -> None:
    """`pool`, `aims` (whom the picks shall help) and `exam` (held out), of the same two sources."""
    rng = random.Random(0)
    parts: dict[str, list[dict[str, str]]] = {name: [] for name in ROWS}
    for source in SOURCES:
        with gzip.open(data / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        fields = ("instruction", "input", "output")
        short = [row for row in rows if sum(len(row[field]) for field in fields) <= LONGEST]
        drawn = iter(rng.sample(short, sum(ROWS.values())))
        for name, count in ROWS.items():
            parts[name] += [next(drawn) for _ in range(count)]
    for name, part in parts.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part))


def prepared(folder: Path, encoder: Path) -> Iterator[Words]:
    yield ("init",)
    for name in ROWS:
        yield "ingest", folder / f"{name}.jsonl", "--dataset", name
        yield "embed", name, "--embedder", encoder


def seeded(llm: Path) -> Iterator[Words]:
    """Labels for a seed, an estimator of each teacher, and its values for all rows."""
    yield "label", "pool", *delift(llm), "--pairs", SEED_PAIRS
    yield "label", "pool", *less(llm), "--rows", SEED_ROWS
    yield "label", "pool", *selectit(llm), "--rows", SEED_ROWS
    for teacher, targets in (("delift", "aims"), ("less", "aims"), ("selectit", None)):
        name = f"{teacher}-estimated"
        aims = ("--targets", targets) if targets else ()
        yield "train", "pool", "--method", teacher, *aims, "--name", name
        yield "fill", "pool", "--estimator", name
    yield "fill", "aims", "--estimator", "delift-estimated"


def labelled(llm: Path) -> Iterator[Words]:
    """Every teacher asked about everything."""
    yield "label", "pool", *less(llm), "--rows", "all"
    yield "label", "pool", *selectit(llm), "--rows", "all"
    yield "label", "pool", *delift(llm), "--share", "100%"


def delift(llm: Path) -> Words:
    cut = ("--max-response-tokens", RESPONSE_TOKENS)
    return "--method", "delift", "--targets", "aims", "--model", llm, *cut


def less(llm: Path) -> Words:
    cut = ("--max-response-tokens", RESPONSE_TOKENS)
    return "--method", "less", "--targets", "aims", "--model", llm, *cut, *CHECKPOINTS


def selectit(llm: Path) -> Words:
    return "--method", "selectit", "--model", llm


def selected() -> dict[str, Words]:
    """30 % by each teacher: coverage of the aims where it judges pairs, else the highest scores."""
    pairs = ("--objective", "flqmi", "--target", "aims")
    kernels = {
        "delift": ("pairs:delift-l2",),
        "delift, estimated": ("delift-estimated", "--accept-weak"),
        "delift-se": ("cosine",),
    }
    scores = {
        "less": "inf_less_for_aims",
        "less, estimated": "est_less_estimated",
        "selectit": "inf_selectit",
        "selectit, estimated": "est_selectit_estimated",
    }
    first = ("select", "pool", "--budget", BUDGET)
    return {
        **{name: (*first, *pairs, "--kernel", *kernel) for name, kernel in kernels.items()},
        **{name: (*first, "--objective", "top", "--by", by) for name, by in scores.items()},
    }


def trials(llm: Path) -> Iterator[Words]:
    """A linear probe on embeddings, and the small LLM itself, at the same number of tokens."""
    rivals = "random,length,cosine-fl,full"
    yield "--probe", "--arms", rivals, "--seeds", 5, "--random", 5
    tuned = ("--model", llm, "--arms", "random,full,untrained", "--set", "step_tokens=800")
    yield *tuned, "--held-out", 60, "--seeds", 3, "--random", 1, "--max-tokens", 160


if __name__ == "__main__":
    main()
