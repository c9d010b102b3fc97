"""The folder in which a page's commands run: data files of the names the pages use, and a store in
which the main job was done."""

from __future__ import annotations

import csv
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from manifest import MANIFEST

from influence_store.cli import cli

STORE = "influence-store"
#: The store of another team, which knows the same rows under the name `chats`.
OTHER = "other"
#: Rows of each file; overlapping numbers are the same rows.
FILES = {
    "chats.jsonl": range(60),
    "chats-week-2.jsonl": range(40, 90),
    "exam.jsonl": range(200, 212),
    "maths.jsonl": range(200, 206),
    "last-year.jsonl": range(100, 120),
    "pool.jsonl": range(60),
    "other.jsonl": range(300, 340),
    "mine.jsonl": range(400, 430),
}
#: Dataset → files; what is measured of a row in one of them holds in all.
DATASETS = {
    "support": ["chats.jsonl", "faq.csv"],
    "demo": ["chats.jsonl"],
    "pool": ["pool.jsonl"],
    "other-team": ["other.jsonl"],
    "mine": ["mine.jsonl"],
    "exam": ["exam.jsonl"],
    "chat": ["exam.jsonl"],
    "maths": ["maths.jsonl"],
    "last-year": ["last-year.jsonl"],
    "past": ["last-year.jsonl"],
}


def row(k: int) -> dict[str, str]:
    """One instruction of three kinds, of two sources."""
    rng = random.Random(k)
    a, b = rng.randint(2, 90), rng.randint(2, 90)
    asked, answer = [
        (f"What is {a} plus {b}?", f"{a} + {b} = {a + b}."),
        (f"Write a function that multiplies by {a}.", f"def times(x): return {a} * x"),
        (f"Is {a} larger than {b}? Explain.", f"{'Yes' if a > b else 'No'}: {a} against {b}."),
    ][k % 3]
    more = {"source": ["forum", "web"][k % 2], "topic": "abc"[k % 3]}
    return {"instruction": f"{asked} (case {k})", "output": answer, **more}


def write_files(folder: Path) -> None:
    """The data files that the pages name."""
    for name, rows in FILES.items():
        (folder / name).write_text("".join(json.dumps(row(k)) + "\n" for k in rows))
    with (folder / "faq.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["question", "answer"])
        table.writerows([f"How do I reset number {k}?", f"Press it {k} times."] for k in range(9))


def run(*words: str) -> str:
    """One verb in this process, in the current folder; its stdout. Raises what the verb raises."""
    done = CliRunner().invoke(cli, list(words), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@dataclass(frozen=True)
class World:
    """A folder with files and a store; `llm` is a tiny model."""

    folder: Path
    llm: str

    def copy(self, to: Path, *, fresh: bool) -> Path:
        """A page's own folder; `fresh` is without a store. Beside it lies `other`, a store too."""
        work = to / "work"
        left_out = [OTHER, *([STORE] * fresh)]
        shutil.copytree(self.folder, work, ignore=shutil.ignore_patterns(*left_out))
        if not fresh:
            shutil.copytree(self.folder / OTHER, to / OTHER)
        return work


def build(folder: Path, llm: str) -> World:
    """Do the main job in `folder`, which is the current one."""
    write_files(folder)
    run("init")
    for dataset, files in DATASETS.items():
        run("ingest", *files, "--dataset", dataset)
        run("embed", dataset, "--embedder", "hashing:32")
    model = ("--model", llm)
    run("label", "demo", *model, "--pairs", "200")
    run("label", "other-team", *model, "--pairs", "150")
    run("label", "demo", *model, "--method", "ifd", "--rows", "all")
    run("label", "support", *model, "--method", "less", "--targets", "exam", "--share", "20%")
    run("train", "demo", "--network", "cosine")
    for dataset in ("demo", "support"):
        run("fill", dataset)
    run("tag", "support", "gold")
    run("select", "pool", "--budget", "10%")
    run("select", "support", "--budget", "10")
    _store_of_another_team()
    _scores_of_another_tool(folder)
    return World(folder, llm)


def _store_of_another_team() -> None:
    other = ("--store", OTHER)
    run(*other, "init")
    run(*other, "ingest", "chats.jsonl", "--dataset", "chats")
    run(*other, "pull", STORE, "--estimator", "all")


def _scores_of_another_tool(folder: Path) -> None:
    """`all_orig.pt`, as LESS writes it, with the manifest that says what it is."""
    import torch

    torch.save(torch.linspace(-1, 1, 60), folder / "all_orig.pt")
    ids = json.loads(run("query", "select sample_id from demo", "--json"))
    manifest = {
        **MANIFEST,
        "method": "their-less",
        "kind": "pointwise",
        "targets": "their own exam",
        "sample_ids": [one["sample_id"] for one in ids],
    }
    (folder / "all_orig.pt.manifest.json").write_text(json.dumps(manifest))
