"""A catalog in another database: SQLite to SQLite, PostgreSQL to SQLite and back, row by row.

A snapshot is always a SQLite file, wherever the catalog lives, so that a store can move between
the two kinds and no tool of a server is needed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, text, true, update
from sqlmodel import SQLModel

from influence_store.errors import UsageError
from influence_store.schema.catalog import Run, StoreRow
from influence_store.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

_ROWS_AT_ONCE = 500


def snapshot(database: Database, path: Path) -> Database:
    """The catalog at this moment as the SQLite file `path`; writers are not held up."""
    if database.url.startswith("sqlite"):
        with closing(sqlite3.connect(path)) as copy:
            connection = database.engine.raw_connection()
            try:
                connection.driver_connection.backup(copy)  # type: ignore[union-attr]
            finally:
                connection.close()
        return Database(f"sqlite:///{path}")
    copied = Database(f"sqlite:///{path}")
    copied.migrate()
    copy_rows(database, copied)
    return copied


def sealed(database: Database, path: Path) -> bytes:
    """The bytes of a snapshot, in one file without a journal beside it."""
    database.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=delete")
    return path.read_bytes()


def copy_rows(source: Database, target: Database, *, run: str = "") -> None:
    """All rows of `source` into `target`, all or none; runs at work there are given up here.

    `target` keeps its own name, and the row of `run`, which is doing this. UsageError if anything
    but a restore ever worked there.
    """
    tables = [
        table for table in SQLModel.metadata.sorted_tables
        if table.name != StoreRow.__tablename__
    ]  # fmt: skip
    with (
        source.engine.connect() as reading,
        target.engine.execution_options(writes=True).begin() as writing,
    ):
        runs = SQLModel.metadata.tables[Run.__tablename__]
        others = select(func.count()).select_from(runs).where(runs.c.verb != "restore")
        if writing.execute(others).scalar_one():
            raise UsageError("the new catalog is in use already", hint="name an empty database")
        for table in reversed(tables):
            keep = runs.c.id != run if table is runs else true()
            writing.execute(delete(table).where(keep))
        for table in tables:
            rows = reading.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table))
            for part in rows.mappings().partitions():
                writing.execute(insert(table), [dict(row) for row in part])
        at_work = (runs.c.state == "writing") & (runs.c.id != run)
        writing.execute(update(runs).where(at_work).values(state="aborted"))
        if writing.dialect.name == "postgresql":
            _count_on(writing)


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL give the ids behind those that came with the rows."""
    for table in SQLModel.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        named = {"table": table.name, "column": column.name}
        sequence = text("select pg_get_serial_sequence(:table, :column)")
        if (name := connection.execute(sequence, named).scalar()) is None:
            continue
        last = connection.execute(select(func.max(column))).scalar() or 0
        # A team may take the next number, not set it.
        used = connection.execute(select(func.nextval(name))).scalar_one()
        numbers = text("select count(nextval(:name)) from generate_series(1, :n)")
        connection.execute(numbers, {"name": name, "n": max(0, last - used)})
