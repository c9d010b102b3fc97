"""Where do the bytes of a store lie? What the store asks of a folder, or of an object storage.

Paths are relative to the store's root and written with `/`; one that leads out of it is refused
(see `inside`). Whatever the place: what `put` or `create` returned from, and what `settle` was
called on, survives a power cut; nothing is ever seen half written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from influence_store.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from io import BufferedIOBase


@dataclass(frozen=True)
class StoredFile:
    """A file: path relative to the root, size in bytes, seconds since 1970 when it was written."""

    path: str
    size: int
    modified: float


class Storage(Protocol):
    """A place for blocks and artifacts. Errors of the place are StorageError or Forbidden."""

    #: How a person names the place; never holds a secret.
    uri: str

    @property
    def lance_options(self) -> dict[str, str] | None:
        """What LanceDB must be told to reach the place."""
        ...

    def table_uri(self, path: str) -> str:
        """What LanceDB opens for the table at `path`."""
        ...

    def walk(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below the folder `prefix`, as it is found."""
        ...

    def files(self, prefix: str = "") -> list[StoredFile]:
        """The same in path order."""
        ...

    def exists(self, path: str) -> bool:
        """Is there a file at `path`?"""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of one file; NotFound where there is none."""
        ...

    def stream(self, path: str) -> AbstractContextManager[BufferedIOBase]:
        """The same as a stream, for files that may be large."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write or replace one file."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write one file unless there is one; True if it was written now."""
        ...

    def settle(self, path: str) -> None:
        """Make everything below the folder `path` survive a power cut."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files, and the folders that are empty then; those that are gone are no error."""
        ...

    def move(self, path: str, to: str) -> None:
        """Give a file another path."""
        ...

    def probe(self) -> None:
        """Fail now if the place cannot be written, or would let two writers create one file."""
        ...


def inside(path: str) -> str:
    """Return `path`, which may come from a catalog; IntegrityError if it can leave the root."""
    parts = path.replace(os.sep, "/").split("/")
    if PurePath(path).anchor or {"", ".", ".."} & {*parts}:
        raise IntegrityError(
            f"{path!r} is no path inside a store",
            hint="whoever wrote it changed the catalog or a backup by hand; restore from a backup",
        )
    return path
