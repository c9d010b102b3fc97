"""Where can a tested store live? Fresh stores, copies and raw bytes on every backend of the suite.

Raw bytes are reached without the code under test, so that a test can damage them and see what is
really there.
"""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import backend
from raw_path import raw_path, sizes
from sqlalchemy import make_url

from influence_store.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raw_path import RawPath

TOOL_VERSION = "test"


@dataclass(frozen=True)
class Place:
    """One store. Plain values, so that it can be handed to another process."""

    backend: str
    path: Path
    uri: str
    database: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def init(self) -> None:
        """Make the store."""
        with self.surroundings():
            made, _ = Store.init(self.uri, TOOL_VERSION, self.database)
            made.database.close()

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """The store, closed at the end."""
        with self.surroundings():
            store = Store.open(self.uri, TOOL_VERSION)
            try:
                yield store
            finally:
                store.database.close()

    @property
    def arguments(self) -> list[str]:
        """What the command line must be told, before the verb."""
        return ["--store", self.uri]

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """The environment in which the store can be reached."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @property
    def raw(self) -> RawFiles:
        """The bytes themselves, behind the back of the code under test.

        In PostgreSQL each role has a folder of its own; ours is that of whoever logs in.
        """
        root = raw_path(self.uri, self.environment)
        return RawFiles(root / make_url(self.database).username if self.database else root)


@dataclass(frozen=True)
class RawFiles:
    """Files by their path below the root of the store."""

    root: RawPath

    def sizes(self) -> dict[str, int]:
        return sizes(self.root)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()


class Places:
    """Makes, copies and drops stores of one backend."""

    def __init__(self, made: backend.Backend, folder: Path) -> None:
        self.name = made.name
        self._backend, self._folder = made, folder

    def fresh(self) -> Place:
        """A new store."""
        path = self._path()
        place = self._place(path, *self._backend.new(path))
        place.init()
        return place

    def copy(self, place: Place) -> Place:
        """A copy of a store that nobody uses now."""
        path = self._path()
        return self._place(path, *self._backend.copy(place.uri, place.database, path))

    def drop(self, place: Place) -> None:
        """Free what it took; must not be in use."""
        self._backend.tidy(place.path)
        shutil.rmtree(place.path, ignore_errors=True)  # of a bucket there is no folder

    def _path(self) -> Path:
        return self._folder / f"s{uuid.uuid4().hex[:12]}"

    def _place(self, path: Path, uri: str, database: str | None) -> Place:
        return Place(self.name, path, uri, database, self._backend.environment)
