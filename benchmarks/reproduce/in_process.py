"""Verbs of the command line, run in this process, which imports torch and the rest once."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence_store.cli import cli

Words = tuple[object, ...]


def folder_of_steps(told: str) -> Path:
    """FOLDER as an absolute path: a step is known by its words, wherever one stands."""
    return Path(told).resolve()


@dataclass(frozen=True)
class Verbs:
    """Runs verbs against FOLDER/STORE; FOLDER/steps.txt tells which need not be run again."""

    folder: Path
    store: str

    def __call__(self, *words: object) -> None:
        """Run once: a step that is in the list is skipped."""
        told = shlex.join([self.store, *map(str, words)])
        steps = self.folder / "steps.txt"
        if steps.exists() and told in steps.read_text().splitlines():
            return
        print(f"$ influence-store --store {told}", flush=True)
        self._run(*words)
        with steps.open("a") as file:
            file.write(told + "\n")

    def asked(self, *words: object) -> Any:
        """What a verb says with `--json`; for those that find again what they made before."""
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            self._run(*words, "--json")
        return json.loads(told.getvalue())

    def _run(self, *words: object) -> None:
        line = ["--store", str(self.folder / self.store), *map(str, words)]
        cli.main(line, prog_name="influence-store", standalone_mode=False)
