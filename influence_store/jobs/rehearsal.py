"""What would a verb do? Let it do so to a copy of the catalog, beside the blocks, and forget it.

The copy is one file in a temporary folder, wherever the catalog lives; blocks are read where they
are, new ones go into that folder. So a dry run of any verb is the verb itself: it refuses what the
verb would refuse, and counts what the verb would count.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlmodel import col, select

from influence_store.jobs.catalog_copy import snapshot
from influence_store.schema.catalog import Block
from influence_store.store.local import LocalStorage
from influence_store.store.location import Location
from influence_store.store.overlay import Overlay
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def rehearsal(store: Store) -> Iterator[Store]:
    """`store` as it is now; what is written to it lasts as long as this context."""
    with TemporaryDirectory(prefix="influence-store-dry-run-") as here:
        catalog = snapshot(store.database, Path(here, "catalog.sqlite"))
        try:
            with catalog.read() as session:
                tables = session.exec(select(col(Block.path))).all()
            scratch = LocalStorage(Path(here, "place"))
            place = Overlay(store.storage, scratch, tables)
            yield Store(Location(store.uri, place, catalog), __version__)
        finally:
            catalog.close()
