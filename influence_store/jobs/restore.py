"""`restore`: a new store from a backup, on a disk or in a bucket, with SQLite or PostgreSQL.

an empty store → the files → the whole catalog, in one transaction → verify, byte by byte. A restore
that was killed is run again; what it brought is not brought twice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import func, select

from influence_store.counted import counted
from influence_store.errors import NotFound, UsageError
from influence_store.jobs.backup import opened, transfer
from influence_store.jobs.catalog_copy import copy_rows
from influence_store.jobs.inventory import held
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Run
from influence_store.store.faults import step
from influence_store.store.location import find, would_create
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.jobs.backup import Copied
    from influence_store.jobs.verify_store import VerifyStoreReport


@dataclass(frozen=True)
class RestoreReport:
    """The new store, how old its state is, and what `verify --deep` says of it."""

    store: str
    backup: str
    of: str
    made_at: float
    copied: Copied
    verified: VerifyStoreReport

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**asdict(self), "verified": self.verified.facts()}

    def lines(self) -> list[str]:
        """For people."""
        brought = self.copied.files + self.copied.kept_files
        return [
            f"{self.store} is what {self.of} was when it was backed up",
            f"  {counted(brought, 'file')}, {self.copied.bytes + self.copied.kept_bytes:,} bytes",
            *self.verified.lines(),
        ]


def restore(folder: str | Path, to: str | Path, database: str | None = None) -> RestoreReport:
    """Make the store `to` from the backup at `folder`; `database` as in `init`.

    UsageError if anybody ever worked in a store at `to`, other than a restore that was killed.
    """
    _check_unused(to, database)
    with opened(folder) as (seal, copy):
        store, _ = Store.init(to, __version__, database)
        step("restore-created")
        with store.claim("restore", "restore", {"backup": copy.uri, "of": seal.store}) as run:
            copied = transfer(copy.storage, store.storage, held(copy).files.values())
            step("restore-copied")
            copy_rows(copy.database, store.database, run=run.id)
            step("restore-catalog")
            verified = verify_store(store, deep=True)
            run.report({"problems": len(verified.problems)}, {"bytes": copied.bytes})
        store.database.close()
        return RestoreReport(store.uri, copy.uri, seal.source, seal.made_at, copied, verified)


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would bring to `store`."""

    store: str
    backup: str
    of: str
    made_at: float
    files: int
    bytes: int

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.store} would be what {self.of} was when it was backed up",
            f"  {counted(self.files, 'file')}, {self.bytes:,} bytes to bring",
        ]


def plan_restore(folder: str | Path, to: str | Path, database: str | None = None) -> RestorePlan:
    """What `restore` would bring; it refuses what that would refuse."""
    _check_unused(to, database)
    uri, _ = would_create(to, database)
    with opened(folder) as (seal, copy):
        return RestorePlan(uri, copy.uri, seal.source, seal.made_at, seal.files, seal.bytes)


def _check_unused(uri: str | Path, database: str | None) -> None:
    try:
        location = find(uri, database, any_revision=True)
    except NotFound:
        return
    try:
        if location.database.revision() is None:
            return
        with location.database.read() as session:
            others = select(func.count()).select_from(Run).where(Run.verb != "restore")
            runs = session.exec(others).one()
    finally:
        location.database.close()
    if runs:
        raise UsageError(f"{location.uri} is a store already", hint="restore into a new --store")
