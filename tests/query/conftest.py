"""Bait for hostile statements, and an engine that is locked but not behind a process."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from engine_here import Here
from hostile_sql import CANARY

import influence_store.query as asking
from influence_store.query import child


@pytest.fixture(scope="session")
def baited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bait")
    for name in ("a.txt", "a.csv", "schema.sql", "load.sql"):
        (folder / name).write_text(f"name,value\n{CANARY},1\n")
    (folder / "a.json").write_text(f'{{"name": "{CANARY}"}}\n')
    with duckdb.connect(folder / "a.db") as made:
        made.execute(f"create table t as select '{CANARY}' as name")
        made.execute(f"copy t to '{folder}/a.parquet'")
    return folder


@pytest.fixture
def bait(baited, monkeypatch):
    """Files that hold the canary, in a folder that is also the current one; none may change."""
    monkeypatch.chdir(baited)
    return baited


@pytest.fixture
def words():
    return pa.table({"sample_id": ["a", "b", "c"], "prompt": ["x", "y", "z"], "n": [1, 2, 3]})


@pytest.fixture
def locked(words):
    """As in the child, without its process and without the kernel's limits."""
    connection = child.connect(threads=1)
    connection.register("words", words)
    child.lock(connection, 1 << 29)
    yield connection
    connection.close()


@pytest.fixture
def here(monkeypatch):
    """Statements are answered in this process."""
    monkeypatch.setattr(asking, "Engine", Here)
