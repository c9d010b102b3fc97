"""An empty store and a folder, for whoever tries the tool on data of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from good_store import Said, shell


@dataclass(frozen=True)
class Mine:
    """Runs verbs against one store; `folder` is where the files are."""

    uri: str
    folder: Path

    def __call__(self, *arguments: object) -> Said:
        return shell("--store", self.uri, *map(str, arguments))

    def done(self, *arguments: object) -> Said:
        said = self(*arguments)
        assert said.code == 0, said
        return said

    def rows(self, sql: str) -> list[dict]:
        return self.done("query", "--format", "json", sql).json()

    def lines(self, name: str, records) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return path


@pytest.fixture
def mine(backend, tmp_path) -> Mine:
    uri, database = backend.new(tmp_path / "store")
    made = Mine(uri, tmp_path)
    made.done("init", *(("--database", database) if database else ()))
    return made


@pytest.fixture
def alpaca():
    def records(n: int, about: str = "topic"):
        return [
            {"instruction": f"Say {k} about {about} {k % 7}", "output": f"{about} {k % 7} is {k}"}
            for k in range(n)
        ]

    return records
