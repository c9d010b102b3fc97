"""The main job on 80 small samples, once per session, with a copy of the store after each verb."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from influence_store.cli import cli

ROWS, PAIRS = 80, 900


def sample(k: int) -> dict[str, str]:
    rng = random.Random(k)
    a, b = rng.randint(2, 90), rng.randint(2, 90)
    kind = k % 4
    asked, answer = [
        (f"What is {a} plus {b}?", f"{a} + {b} = {a + b}."),
        (f"Write a function that multiplies by {a}.", f"def times(x):\n    return {a} * x"),
        (f"Name {a % 5 + 2} colours.", ", ".join(rng.sample(COLOURS, a % 5 + 2)) + "."),
        (f"Is {a} larger than {b}? Explain.", f"{'Yes' if a > b else 'No'}: {a} against {b}."),
    ][kind]
    return {"instruction": f"{asked} (#{k})", "input": "", "output": answer}


COLOURS = ["red", "orange", "yellow", "green", "blue", "indigo", "violet"]


@pytest.fixture(scope="session")
def write_rows():
    """Writes the samples with these numbers as alpaca JSON lines."""

    def write(path: Path, rows) -> Path:
        path.write_text("".join(json.dumps(sample(k)) + "\n" for k in rows))
        return path

    return write


@dataclass
class Cli:
    """Runs verbs in this process against one store."""

    root: Path
    told: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str) -> str:
        result = CliRunner().invoke(
            cli, ["--store", str(self.root), *arguments], standalone_mode=False
        )
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "--json"))


@pytest.fixture(scope="session")
def open_cli():
    """The command line against the store at a path."""
    return Cli


@dataclass(frozen=True)
class Stages:
    """`folders[verb]` is the store after that verb; `commands[verb]` the command that led there."""

    folders: dict[str, Path]
    commands: dict[str, list[str]]
    before: dict[str, Path]

    def copy_before(self, verb: str, to: Path) -> Cli:
        shutil.copytree(self.before[verb], to)
        return Cli(to)

    def copy_after(self, verb: str, to: Path) -> Cli:
        shutil.copytree(self.folders[verb], to)
        return Cli(to)


@pytest.fixture(scope="session")
def stages(tmp_path_factory, tiny_llm, write_rows) -> Stages:
    base = tmp_path_factory.mktemp("stages")
    rows = write_rows(base / "rows.jsonl", range(ROWS))
    commands = {
        "init": ["init"],
        "ingest": ["ingest", str(rows), "--dataset", "demo"],
        "embed": ["embed", "demo", "--embedder", "hashing:32"],
        "label": ["label", "demo", "--model", str(tiny_llm), "--pairs", str(PAIRS)],
        "train": ["train", "demo", "--network", "two-step-kernel-ridge"],
        "fill": ["fill", "demo"],
        "select": ["select", "demo", "--budget", "20", "--accept-weak"],
    }
    run, folders, before = Cli(base / "store"), {}, {}
    for verb, command in commands.items():
        before[verb] = folders[list(folders)[-1]] if folders else base / "nothing"
        run(*command)
        folders[verb] = Path(shutil.copytree(run.root, base / f"after-{verb}"))
    return Stages(folders, commands, before)
