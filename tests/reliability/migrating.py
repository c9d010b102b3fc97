"""A migration that dies before its n-th statement, and what a catalog holds, by plain SQL."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from influence_store.jobs.migrate import migrate

if TYPE_CHECKING:
    from pathlib import Path


def migrate_until(uri: str, nth: int, told: Path) -> None:
    """In a child: `kill -9` before the `nth` statement; 0 = go through and tell how many."""
    count = itertools.count(1)

    def before(*_: Any) -> None:
        if next(count) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", before)
    migrate(uri)
    told.write_text(str(next(count) - 1))


def contents(root: Path) -> dict[str, list[str]]:
    """How each table is made, and all its rows; what made it writes constraints in any order."""
    with sqlite3.connect(root / "catalog.sqlite") as connection:
        tables = connection.execute(
            "select name, sql from sqlite_master where sql is not null order by name"
        ).fetchall()
        found = {
            name: sorted(line.strip("\t, ") for line in sql.split("\n")) for name, sql in tables
        }
        for name in [name for name, sql in tables if sql.lower().startswith("create table")]:
            if name != "store":
                rows = connection.execute(f'select * from "{name}"').fetchall()
                found[name] += sorted(map(repr, rows))
    return found
