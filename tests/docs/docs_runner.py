"""Runs the blocks of one page, in their order, in one folder and one Python namespace."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import click
import yaml
from docs_blocks import ROOT, SHELL, Block, Command, commands, lines
from docs_substitutes import RUN_ELSEWHERE, apart, substituted
from docs_world import STORE, run
from sqlmodel import desc, select

from influence_store import api
from influence_store.cli import cli
from influence_store.errors import InfluenceStoreError
from influence_store.schema.catalog import Selection
from influence_store.store.store import Store
from influence_store.version import __version__

PROGRAM = "influence-store"
_FILE = re.compile(r"# ([\w-]+\.py)\n")
#: Pages whose Python belongs into the folder that `export` wrote.
IN_THE_EXPORT = {"docs/exports.md": "out"}
#: tests/query/test_query_docs.py runs these.
SQL_ELSEWHERE = {"docs/query.md"}


@dataclass
class Page:
    """What the blocks of a page share. The current folder is `folder`."""

    folder: Path
    llm: str
    namespace: dict[str, object] = field(default_factory=lambda: {"__name__": "page"})
    ran: int = 0

    def run(self, block: Block) -> None:
        """Run or check one block; AssertionError names the page and line."""
        kind = getattr(self, f"_{block.language or 'nothing'}", None)
        assert kind is not None, f"{block.place}: no test knows {block.language!r} blocks"
        try:
            kind(block)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error

    # -- shell ---------------------------------------------------------------------------

    def _console(self, block: Block) -> None:
        if any(block.text.startswith(first) for first in RUN_ELSEWHERE):
            return
        for number, line, shown in lines(block):
            if apart(block.page, line):
                if line.startswith(PROGRAM):
                    check_words(*commands(block, number, line))
                continue
            for command in commands(block, number, self._named(line), shown):
                if command.words[0] == PROGRAM:
                    self._verb(command)
                elif command.words[0] == "python":
                    self._own_script(command)
                else:
                    check_foreign(command)

    _sh = _console

    def _verb(self, command: Command) -> None:
        words = list(command.words[1:])
        if "export" in words and "--overwrite" not in words:
            shutil.rmtree(words[words.index("-o") + 1], ignore_errors=True)
        expected = re.match(r"error\[(IS\d+)\]", command.shown[0]) if command.shown else None
        try:
            told = run(*words)
            assert expected is None, f"{command.place}: should fail with {expected and expected[1]}"
        except (InfluenceStoreError, click.ClickException) as error:
            code = getattr(error, "code", "IS200")
            why = f"{command.place}: {' '.join(words)}: error[{code}]: {error}"
            assert expected is not None, why
            assert code == expected[1], why
            told = f"error[{code}]: {error}"
        self.ran += 1
        if command.into:
            Path(command.into).write_text(told)
        check_shown(command, told)

    def _own_script(self, command: Command) -> None:
        """`python FILE` that a block of the page wrote, or a script of the repository."""
        if not (self.folder / command.words[1]).exists():
            check_foreign(command)
            return
        done = subprocess.run(
            [sys.executable, *command.words[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command.place}: {done.stdout}\n{done.stderr}"

    # -- other languages -----------------------------------------------------------------

    def _python(self, block: Block) -> None:
        tree = ast.parse(block.text, block.place)
        if apart(block.page, block.text):
            return
        text = self._named(block.text)
        if told := _FILE.match(text):
            (self.folder / told[1]).write_text(text)
        home = Path.cwd()
        os.chdir(self.folder / IN_THE_EXPORT.get(block.page, ""))
        try:
            with redirect_stdout(io.StringIO()):
                exec(compile(text, block.place, "exec"), self.namespace)
                for node in tree.body:
                    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                        self.namespace[node.name]()
        finally:
            os.chdir(home)
        self.ran += 1

    def _sql(self, block: Block) -> None:
        if block.page in SQL_ELSEWHERE or apart(block.page, block.text):
            return
        with api.open(STORE) as store:
            store.query(self._named(block.text))
        self.ran += 1

    def _toml(self, block: Block) -> None:
        project = tomllib.loads(block.text).get("project", {})
        if points := project.get("entry-points"):
            install(self.folder, points)

    def _yaml(self, block: Block) -> None:
        told = yaml.safe_load(block.text)
        if isinstance(told, dict):
            for job in told.get("jobs", {}).values():
                for step in job["steps"]:
                    self._console(Block(block.page, block.line, "sh", step.get("run", "")))

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _text(self, block: Block) -> None:
        assert block.text.strip(), block.place

    # ------------------------------------------------------------------------------------

    def _named(self, text: str) -> str:
        names = {"llm": self.llm, "selection": "", "sample": ""}
        if re.search(r"\bSELECTION\b|\bSAMPLE\.\.\.|\b3f2a\b", text):
            names |= newest_selection(self.folder / STORE)
        return substituted(text, names)


def newest_selection(store: Path) -> dict[str, str]:
    """The id of the selection made last, and of a row of its dataset; their beginnings will do."""
    database = Store.open(store, __version__).database
    last = select(Selection).order_by(desc("created_at")).limit(1)
    with database.read() as session:
        id_ = session.scalars(last).one().id
    database.close()
    with api.open(store) as opened:
        (sample, *_) = opened.selected(id_).select("sample_id").polars()["sample_id"]
    return {"selection": id_[:12], "sample": sample[:12]}


def check_words(command: Command) -> None:
    """A line that is not run: its verb and options must exist."""
    if command.words[0] != PROGRAM:
        return
    words, found = list(command.words[1:]), cli
    while isinstance(found, click.Group):
        context = click.Context(found)
        _, rest, _ = found.make_parser(context).parse_args(words)
        name, found, words = found.resolve_command(context, rest)
    found.make_context(name, words, obj=None).close()


def check_foreign(command: Command) -> None:
    """A command of another program: what it names of this repository must exist."""
    words = command.words
    if words[0] == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for extras in re.findall(r"influence-store\[([\w,-]+)\]", command.line):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), command.place
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), command.place
    elif words[0] == "python" and words[1].endswith(".py"):
        text = (ROOT / words[1]).read_text()
        for option in [one for one in words[2:] if one.startswith("--") and len(one) > 2]:
            named = f'"{option}"' in text or f'"{option[2:]}"' in text
            assert named, f"{command.place}: {words[1]} has no {option}"
    else:
        raise AssertionError(f"{command.place}: neither run nor listed: {command.line}")


def check_shown(command: Command, told: str) -> None:
    """Every line of output that the page shows was printed, in this order, but for numbers."""
    printed = iter(told.splitlines())
    for line in (one for one in command.shown if one.strip()):
        pattern = re.escape(line.strip()).replace("…", ".*")
        pattern = re.sub(r"(?:\d|\\\.|,)*\d", r"[\\d.,]+", pattern)
        assert any(re.fullmatch(pattern, one.strip()) for one in printed), (
            f"{command.place}: not printed: {line!r}\n{told}"
        )


def install(folder: Path, points: dict[str, dict[str, str]]) -> None:
    """What pip leaves behind of a package whose modules lie in `folder`."""
    metadata = folder / "of_the_page-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: of-the-page\nVersion: 1.0\n")
    text = [
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in named.items())
        for group, named in points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(text))


assert set(SHELL) == {"console", "sh"}
