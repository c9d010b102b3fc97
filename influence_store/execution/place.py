"""How does a worker find the store that the driver has open? By address, never by credentials."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.errors import Incompatible
from influence_store.redact import credentials_in
from influence_store.settings import DATABASE_VARIABLE
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from influence_store.store.store import Store as OpenStore


@dataclass(frozen=True)
class StoreAt:
    """A store's URI, where this user's blocks lie, its catalog, and the version of this program.

    `database` is None where its URL holds a password: a worker then has it from its environment,
    or the place itself names the catalog.
    """

    uri: str
    blocks: str
    database: str | None
    tool_version: str

    @classmethod
    def of(cls, store: OpenStore) -> StoreAt:
        """Of an open store."""
        url = store.database.url
        told = None if not store.database.is_postgres or credentials_in(url) else url
        return cls(_absolute(store.uri), _absolute(store.storage.uri), told, __version__)

    def open(self) -> Store:
        """The same store in this process.

        Incompatible if another version of this program, or another role of the database, would
        write elsewhere than the driver reads; StoreNotFound if this machine cannot see it.
        """
        if self.tool_version != __version__:
            raise Incompatible(
                f"a worker has influence-store {__version__}, the driver {self.tool_version}",
                hint="install the same version on every machine",
            )
        database = os.environ.get(DATABASE_VARIABLE) or self.database
        store = Store.open(self.uri, __version__, database)
        if (found := _absolute(store.storage.uri)) != self.blocks:
            raise Incompatible(
                f"a worker would write to {found}, the driver to {self.blocks}",
                hint="give every machine the same role: the user of the database",
            )
        return store


def _absolute(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(uri)
