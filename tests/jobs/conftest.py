"""The main job on 80 small samples, once per session, with a copy of the store after each verb."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Killed children are forks of the warm parent that the reliability suite keeps.
sys.path.append(str(Path(__file__).parents[1] / "reliability"))

from click.testing import CliRunner

from influence_store.cli import cli
from influence_store.store.store import Store
from influence_store.version import __version__

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


@dataclass(frozen=True)
class Cli:
    """Runs verbs in this process against one store; `database` is where `init` puts its catalog."""

    root: Path | str
    database: str | None = None

    def __call__(self, *arguments: str) -> str:
        result = CliRunner().invoke(cli, self.line(*arguments), standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def line(self, *arguments: str) -> list[str]:
        """The whole command line, for another process too."""
        where = ["--database", self.database] if self.database and "init" in arguments else []
        return ["--store", str(self.root), *arguments, *where]

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "--json"))

    def blocks(self) -> dict[str, tuple[float, str]]:
        """When every file of every block was written, and its sha256, by its path."""
        storage = Store.open(self.root, __version__).storage
        return {
            file.path: (file.modified, hashlib.sha256(storage.read(file.path)).hexdigest())
            for file in storage.files("blocks")
        }


@pytest.fixture(scope="session")
def open_cli(backend):
    """The command line against the store at a path, or at the URI of one that is there."""

    def at(path) -> Cli:
        if "://" in str(path):
            return Cli(path)
        uri, database = backend.new(Path(path))
        return Cli(uri if "://" in uri else Path(uri), database)

    return at


@dataclass(frozen=True)
class Stages:
    """`folders[verb]` is the store after that verb; `commands[verb]` the command that led there."""

    folders: dict[str, Path | str]
    commands: dict[str, list[str]]
    copy_store: Callable[..., str]
    open_cli: Callable[..., Cli]

    def copy_before(self, verb: str, to: Path) -> Cli:
        verbs = list(self.commands)
        return self.copy_after(verbs[verbs.index(verb) - 1], to)

    def copy_after(self, verb: str, to: Path) -> Cli:
        return self.open_cli(self.copy_store(self.folders[verb], to))


@pytest.fixture(scope="session")
def stages(tmp_path_factory, tiny_llm, write_rows, open_cli, copy_store) -> Stages:
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
    run, folders = open_cli(base / "store"), {}
    for verb, command in commands.items():
        run(*command)
        folders[verb] = copy_store(run.root, base / f"after-{verb}")
    return Stages(folders, commands, copy_store, open_cli)
