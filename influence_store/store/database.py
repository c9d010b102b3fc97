"""One database, SQLite or PostgreSQL: connections, transactions, clock, migrations."""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlmodel import Session, select

from influence_store.errors import Forbidden, Incompatible, SchemaMismatch, UsageError
from influence_store.extras import require
from influence_store.schema.catalog import REVISION, StoreRow
from influence_store.store.retry import patiently, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection

T = TypeVar("T")

_BUSY_SECONDS = 30
#: A process that was stopped in the middle of a transaction must not hold its locks for long.
_IDLE_SECONDS = 60
_CONNECT_SECONDS = 10
#: Whoever migrates a catalog holds this lock of PostgreSQL; any number will do.
_MIGRATION_LOCK = 7_420_517


class Database:
    """Short transactions only: none may span LanceDB, network or model work."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._only_read = False
        self._ended = False
        self.engine = _engine(url)
        self.is_postgres = self.engine.dialect.name == "postgresql"
        self._reader, self._writer = self.engine, self.engine.execution_options(writes=True)
        if self.is_postgres:
            self._reader = self._reader.execution_options(postgresql_readonly=True)
            self._writer = self._writer.execution_options(isolation_level="SERIALIZABLE")
        # Whoever forgets to close it leaves no connection open at the server.
        weakref.finalize(self, self.engine.dispose)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A snapshot for reading; nothing is written. StorageError if the database is away.

        UsageError after `end`.
        """
        self._check_open()
        with told(), Session(self._reader, expire_on_commit=False) as session:
            patiently(session.connection)
            yield session

    def write(self, work: Callable[[Session], T], patience: float | None = None) -> T:
        """Run `work` in one transaction and return its value.

        It is run again on conflicts and while the server restarts, for `patience` seconds, even
        where it was committed and only the answer was lost: `work` has no outside effects and does
        nothing if it finds itself done. StorageError if the database stays away or locked,
        UsageError after `end`.
        """
        self._check_open()
        if self._only_read:
            raise Forbidden(
                "this program may only read the store", hint="write from the command line"
            )
        with told():
            return patiently(lambda: self._write(work), patience)

    def refuse_writes(self) -> None:
        """Only read from now on: `write` is Forbidden, and SQLite itself refuses to change a row.

        PostgreSQL does so for every `read`, whoever asks.
        """
        self._only_read = True
        if not self.is_postgres:
            event.listen(self.engine, "connect", _query_only)
            self.engine.dispose()  # what is open does not know yet

    def _write(self, work: Callable[[Session], T]) -> T:
        with Session(self._writer, expire_on_commit=False) as session:
            value = work(session)
            session.commit()
        return value

    def close(self) -> None:
        """Close all connections; whoever asks again opens new ones."""
        self.engine.dispose()

    def end(self) -> None:
        """Close all connections for good: whoever asks again is told so."""
        self._ended = True
        self.close()

    def _check_open(self) -> None:
        if self._ended:
            raise UsageError("this store was closed", hint="open it again: influence_store.open(…)")

    def now(self, session: Session) -> float:
        """Seconds since 1970 by the database's own clock."""
        return clock(session.connection())

    def role(self) -> str | None:
        """Whose rows this program sees and writes, on PostgreSQL."""
        if not self.is_postgres:
            return None
        with told(), self.engine.connect() as connection:
            return str(connection.execute(text("select current_user")).scalar_one())

    def migrate(self) -> None:
        """Bring the schema to this program's revision; a no-op where it is there already."""
        if self.revision() != REVISION:
            self.upgrade("head")

    def upgrade(
        self, revision: str, first: Callable[[Connection], None] = lambda _connection: None
    ) -> None:
        """Run the migrations up to `revision`, all or none.

        `first` looks at the catalog when nobody else can write to it any more; what it raises
        leaves everything as it is.
        """
        with told(), self._writer.connect() as connection, _loose(connection), connection.begin():
            if self.is_postgres:
                connection.execute(text(f"select pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            first(connection)
            _run_migrations(connection, revision)

    def revision(self) -> str | None:
        """The schema that the catalog has; None where there is none."""
        with told():
            if not inspect(self.engine).has_table("alembic_version"):
                return None
            with self.engine.connect() as connection:
                found = connection.execute(text("select version_num from alembic_version"))
                return str(found.scalar_one())

    def check_revision(self) -> None:
        """SchemaMismatch unless the schema is exactly the one this program knows."""
        found = self.revision()
        if found is None:
            raise Incompatible(
                "this catalog was never initialised", hint="run: influence-store init"
            )
        if found != REVISION:
            older = found < REVISION
            raise SchemaMismatch(
                f"the catalog has schema {found}, this program knows {REVISION}",
                hint="run: influence-store migrate" if older else "upgrade influence-store",
            )

    def store_id(self) -> str:
        """The store's own name, for good."""
        with self.read() as session:
            return session.exec(select(StoreRow.id)).one()


def clock(connection: Connection) -> float:
    """Seconds since 1970 by the database's own clock."""
    sql = (
        "select extract(epoch from clock_timestamp())"
        if connection.dialect.name == "postgresql"
        else "select (julianday('now') - 2440587.5) * 86400.0"
    )
    return float(connection.execute(text(sql)).scalar_one())


@contextmanager
def _loose(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew; foreign keys must not miss the old one."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def _run_migrations(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    scripts = Path(__file__).parent.parent / "schema" / "migrations"
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        require("psycopg", extra="postgres")
        return create_engine(
            _bounded(make_url(url)),
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
        )
    path = Path(make_url(url).database or "")
    writable = not path.exists() or (_may_write(path) and _may_write(path.parent))
    engine = create_engine(
        url if writable else _read_only(path), connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        wanted = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
        for pragma in wanted if writable else ():
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A deferred BEGIN lets readers through while somebody writes; a writer takes the lock
        # at once, since upgrading a read lock later can fail without waiting.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _query_only(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _may_write(path: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK, effective_ids=effective)


def _read_only(path: Path) -> str:
    """The catalog for somebody who may only look.

    SQLite wants to keep its list of readers beside the file. Where there is none and none can be
    made, nobody is writing: whoever writes has one.
    """
    alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    return f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro{alone}&uri=true"


def _bounded(url: URL) -> URL:
    """`url` with our limits of time, where it does not say its own."""
    options = url.query.get("options", "")
    limit = f"-cidle_in_transaction_session_timeout={_IDLE_SECONDS}s"
    return url.set(
        drivername="postgresql+psycopg",
        query={
            "connect_timeout": str(_CONNECT_SECONDS),
            "application_name": "influence-store",
            **url.query,
            "options": f"{limit} {options}".strip(),
        },
    )
