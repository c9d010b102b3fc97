"""A small real store with something on every page; texts and names in it are hostile."""

from __future__ import annotations

import json
import random
from pathlib import Path

from click.testing import CliRunner

from influence_store.cli import cli

SCRIPT = "<script>window.harmed = 1</script>"
#: A file may be called so, and a record may hold such texts.
HOSTILE_FILE = "forum \"><img src=x onerror='harmed=1'>.jsonl"
HOSTILE = [
    {"instruction": f"Is this safe? {SCRIPT}", "output": '"><svg onload=harmed=1>'},
    {"instruction": "{{ 7 * 7 }} {% raw %} ${7*7}", "output": "' or 1=1; drop table sample; --"},
    {
        "instruction": "Right\u202eto left, a bell \x07 and a null-like \\x00",
        "output": "]]></script>",
    },
    {"instruction": "A long one. " + "word " * 4000, "output": "x" * 5000},
]
ASKED = [
    ("What is {a} plus {b}?", "{a} + {b} = {c}."),
    ("Write a function that multiplies by {a}.", "def times(x):\n    return {a} * x"),
    ("Which of {a} and {b} is larger? Explain.", "Compare {a} with {b}: it is plain."),
    ("Spell the number {a} backwards.", "Of {a} that is {b}."),
]


def sample(k: int) -> dict[str, str]:
    rng = random.Random(k)
    a, b = rng.randint(2, 90), rng.randint(2, 90)
    asked, answer = (one.format(a=a, b=b, c=a + b) for one in ASKED[k % len(ASKED)])
    return {"instruction": f"{asked} (#{k})", "output": answer, "topic": f"kind-{k % 3}"}


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def fill_store(place: list[str], folder: Path, llm: Path) -> None:
    """Do the main job; `place` are the options that name the store, ready for `init`."""

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, [*place, *arguments], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    first = write(folder / "tutor.jsonl", [sample(k) for k in range(60)])
    second = write(folder / HOSTILE_FILE, [*HOSTILE, *[sample(k) for k in range(60, 72)]])
    third = write(folder / "later.jsonl", [sample(k) for k in range(72, 80)])
    run("ingest", first, second, "--dataset", "demo")
    run("embed", "demo", "--embedder", "hashing:32")
    run("label", "demo", "--model", str(llm), "--pairs", "700")
    run("label", "demo", "--model", str(llm), "--method", "ifd", "--rows", "all")
    run("train", "demo", "--network", "two-step-kernel-ridge")
    run("fill", "demo")
    run("train", "demo", "--method", "ifd", "--name", "ifd-student")
    run("fill", "demo")
    run("select", "demo", "--budget", "16", "--accept-weak")
    tried = run("select", "demo", "--budget", "16", "--kernel", "cosine").split()[1].strip(":")
    run("select", "demo", "--budget", "20", "--objective", "graph-cut", "--kernel", "cosine")
    run("select", "demo", "--budget", "10", "--objective", "top", "--by", "est_ifd_student")
    run("select", "demo", "--budget", "12", "--objective", "k-center")
    trial = ("--held-out", "20", "--probe", "--keep-leaks", "--random", "1")
    run("trial", "demo", "--selection", tried, *trial)
    run("ingest", third, "--dataset", "demo")
    run("ingest", first, "--dataset", "exam")
    run("tag", "demo@1", "before-summer")
