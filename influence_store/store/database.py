"""One database, SQLite or PostgreSQL: connections, transactions with retry, clock, migrations."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Session, select
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from influence_store.errors import Incompatible, StorageError
from influence_store.extras import require
from influence_store.schema.catalog import REVISION, StoreRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_BUSY_SECONDS = 30


class Database:
    """Short transactions only: none may span LanceDB, network or model work."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A snapshot for reading; nothing is written. StorageError if the database is away."""
        try:
            with Session(self.engine, expire_on_commit=False) as session:
                yield session
        except OperationalError as error:
            raise _away(error) from error

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction and return its value; retried on conflicts.

        `work` must be free of outside effects, as it may run more than once. StorageError if the
        database stays unreachable or locked.
        """
        try:
            value: T = _RETRYING(self._write, work)
            return value
        except OperationalError as error:
            raise _away(error) from error

    def _write(self, work: Callable[[Session], T]) -> T:
        engine = self.engine.execution_options(writes=True)
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="SERIALIZABLE")
        with Session(engine, expire_on_commit=False) as session:
            value = work(session)
            session.commit()
        return value

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def now(self, session: Session) -> float:
        """Seconds since 1970 by the database's own clock."""
        sql = (
            "select (julianday('now') - 2440587.5) * 86400.0"
            if self.engine.dialect.name == "sqlite"
            else "select extract(epoch from clock_timestamp())"
        )
        return float(session.connection().execute(text(sql)).scalar_one())

    def migrate(self) -> None:
        """Bring the schema to this program's revision; a no-op where it is there already."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        scripts = Path(__file__).parent.parent / "schema" / "migrations"
        config.set_main_option("script_location", str(scripts))
        with self.engine.execution_options(writes=True).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def revision(self) -> str | None:
        """The schema that the catalog has; None where there is none."""
        try:
            if not inspect(self.engine).has_table("alembic_version"):
                return None
            with self.engine.connect() as connection:
                found = connection.execute(text("select version_num from alembic_version"))
                return str(found.scalar_one())
        except OperationalError as error:
            raise _away(error) from error

    def check_revision(self) -> None:
        """Incompatible unless the schema is exactly the one this program knows."""
        found = self.revision()
        if found is None:
            raise Incompatible(
                "this catalog was never initialised", hint="run: influence-store init"
            )
        if found != REVISION:
            older = found < REVISION
            raise Incompatible(
                f"the catalog has schema {found}, this program knows {REVISION}",
                hint="run: influence-store migrate" if older else "upgrade influence-store",
            )

    def store_id(self) -> str:
        """The store's own name, for good."""
        with self.read() as session:
            return session.exec(select(StoreRow.id)).one()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        require("psycopg", extra="postgres")
        return create_engine(
            url, pool_pre_ping=True, hide_parameters=True, isolation_level="REPEATABLE READ"
        )
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A deferred BEGIN lets readers through while somebody writes; a writer takes the lock
        # at once, since upgrading a read lock later can fail without waiting.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _away(error: OperationalError) -> StorageError:
    """What the database says of itself, in one line."""
    return StorageError(
        f"the catalog does not answer, or takes no writes: {str(error.orig).splitlines()[0]}",
        hint="is the disk full, the server away, or another program holding the file? see: doctor",
    )


def _is_conflict(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None)
    return code in {"40001", "40P01"} or "database is locked" in str(error.orig)


_RETRYING = Retrying(
    retry=retry_if_exception(_is_conflict),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
