"""Which place and which catalog belong together? A store is named by one URI.

`store.json` at the root of the place holds the store's own id and where its catalog is: beside it
as `catalog.sqlite`, or in a PostgreSQL database. The catalog knows the id too; if they differ, the
two do not belong together and nothing is opened. No password is ever written down: the database's
own ways (PGPASSWORD, ~/.pgpass) and $INFLUENCE_STORE_DATABASE bring them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from influence_store.errors import (
    Forbidden,
    Incompatible,
    IntegrityError,
    StoreNotFound,
    UsageError,
)
from influence_store.settings import DATABASE_VARIABLE
from influence_store.store.database import Database
from influence_store.store.faults import step
from influence_store.store.local import LocalStorage
from influence_store.store.mounts import refuse_network_disk
from influence_store.store.teams import check_role, warn_if_unbound

if TYPE_CHECKING:
    from influence_store.store.storage import Storage

MARKER = "store.json"
CATALOG = "catalog.sqlite"
_OWN = {MARKER, CATALOG, "blocks", "objects", "tmp"}


@dataclass(frozen=True)
class Marker:
    """What `store.json` says: the store's id, and the catalog's URL; None = SQLite beside it."""

    store: str
    database: str | None

    @property
    def catalog(self) -> str:
        """For people."""
        return self.database or CATALOG


@dataclass(frozen=True)
class Location:
    """An open store: what people call it, where its blocks lie, and its catalog."""

    uri: str
    storage: Storage
    database: Database


def create(uri: str | Path, database: str | None = None) -> tuple[Location, bool]:
    """Make a store at `uri` if there is none; True when it was made now.

    `database` is the URL of a PostgreSQL database for the catalog; None: SQLite beside the blocks.
    UsageError if the place is not empty, or is a store with another catalog.
    """
    storage, marker, fresh = _wanted(uri, database)
    storage.probe()
    step("folders-made")
    catalog = Database(_address(storage, marker, database))
    catalog.migrate()
    step("catalog-made")
    if not marker.store:
        _mark(storage, catalog, marker.database)
    _check_pair(storage, catalog)
    return _location(storage, catalog), fresh


def would_create(uri: str | Path, database: str | None = None) -> tuple[str, bool]:
    """The store's URI, and whether `create` would make it now; refuses what that would refuse."""
    storage, marker, fresh = _wanted(uri, database)
    _address(storage, marker, database)
    return storage.uri, fresh


def _wanted(uri: str | Path, database: str | None) -> tuple[Storage, Marker, bool]:
    """The place, what it is or shall be marked with, and whether it is still to be made."""
    storage = storage_at(uri)
    marker = _marker(storage)
    fresh = marker is None and not storage.exists(CATALOG)
    if fresh:
        _refuse_foreign(storage)
    marker = marker or Marker("", _without_password(database))
    if database is not None and _without_password(database) != marker.database:
        raise UsageError(
            f"{storage.uri} is a store whose catalog is {marker.catalog}",
            hint="leave out --database",
        )
    return storage, marker, fresh


def find(uri: str | Path, database: str | None = None, *, any_revision: bool = False) -> Location:
    """Open the store at `uri`; NotFound tells how to make one.

    `database` is another way to its catalog than the one written down. Incompatible if it is not
    the catalog of this place, or if its schema is not this program's (unless `any_revision`).
    """
    storage = storage_at(uri)
    marker = _marker(storage)
    if marker is None and not storage.exists(CATALOG):
        raise StoreNotFound(
            f"there is no store at {storage.uri}",
            hint=f"run: influence-store --store {storage.uri} init",
        )
    catalog = Database(_address(storage, marker or Marker("", None), database))
    if not any_revision:
        catalog.check_revision()
        _check_pair(storage, catalog)
        warn_if_unbound(catalog)
    return _location(storage, catalog)


def mark(uri: str | Path, catalog: Database) -> bool:
    """Write the marker of a store that was made before there were markers; True if it was now."""
    storage = storage_at(uri)
    return _marker(storage) is None and _mark(storage, catalog, None)


def storage_at(uri: str | Path) -> Storage:
    """The place that `uri` names: a folder, or `s3://bucket/prefix`."""
    text = str(uri)
    if text.startswith("s3://"):
        from influence_store.store.objects import ObjectStorage

        return ObjectStorage(text)
    if text.startswith("s3:/"):
        raise UsageError(
            f"{text} has lost a slash", hint="s3://bucket/prefix, as text: a Path drops one"
        )
    if "://" in text:
        raise UsageError(
            f"{text.partition('://')[0]}:// is no place for a store",
            hint="a folder, or s3://bucket/prefix",
        )
    return LocalStorage(Path(text))


def _location(root: Storage, catalog: Database) -> Location:
    """On PostgreSQL the blocks of a role lie in a folder of its name, as its rows are its own."""
    role = catalog.role()
    if role is None:
        return Location(root.uri, root, catalog)
    return Location(root.uri, storage_at(f"{root.uri}/{check_role(role)}"), catalog)


def _mark(storage: Storage, catalog: Database, database: str | None) -> bool:
    marker = Marker(catalog.store_id(), database)
    return storage.create(MARKER, orjson.dumps(vars(marker), option=orjson.OPT_INDENT_2))


def _marker(storage: Storage) -> Marker | None:
    """What `store.json` says; None where there is none."""
    if not storage.exists(MARKER):
        return None
    try:
        return Marker(**orjson.loads(storage.read(MARKER)))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise IntegrityError(
            f"{storage.uri}/{MARKER} cannot be read: {error}", hint="restore it from a backup"
        ) from error


def _refuse_foreign(storage: Storage) -> None:
    """Our own folders are what an init that was killed leaves behind; anything else is not ours."""
    for file in storage.walk():
        if file.path.partition("/")[0] not in _OWN:
            raise UsageError(
                f"{storage.uri} is not empty and not a store (it holds {file.path})",
                hint="choose another --store",
            )


def _address(storage: Storage, marker: Marker, given: str | None) -> str:
    """The URL of the catalog: as given, else as written down."""
    told = given or marker.database
    if told is not None:
        return told
    if not isinstance(storage, LocalStorage):
        raise UsageError(
            f"a store at {storage.uri} needs a PostgreSQL database for its catalog",
            hint="run init with --database postgresql+psycopg://USER@HOST/NAME",
        )
    catalog = storage.root / CATALOG
    refuse_network_disk(storage.root)
    if catalog.exists() and not os.access(catalog, os.R_OK):
        raise Forbidden(f"{catalog} is not readable for this user")
    return f"sqlite:///{catalog}"


def _check_pair(storage: Storage, catalog: Database) -> None:
    """Incompatible unless catalog and place say that they are one store."""
    marker = _marker(storage)
    if marker is not None and marker.store != (found := catalog.store_id()):
        raise Incompatible(
            f"{storage.uri} is store {marker.store[:12]}, its catalog belongs to {found[:12]}",
            hint=f"name the right catalog in ${DATABASE_VARIABLE}, or restore both from one backup",
        )


def _without_password(url: str | None) -> str | None:
    """`url` as it may be written down."""
    if url is None:
        return None
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            "--database is no URL", hint="postgresql+psycopg://USER@HOST/NAME"
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise UsageError(
            f"the catalog cannot be in {parsed.get_backend_name()}",
            hint="postgresql+psycopg://USER@HOST/NAME, or leave --database out for SQLite",
        )
    hidden = {key: value for key, value in parsed.query.items() if "password" not in key}
    bare = parsed.set(drivername="postgresql+psycopg", password=None, query=hidden)
    return bare.render_as_string(hide_password=False)
