"""A store that can be written to without a trace: reads the real place, writes beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from io import BufferedIOBase

    from influence_store.store.storage import Storage, StoredFile


class Overlay:
    """`base` as it is, with the changes of one command in `scratch`; `base` is never written.

    `tables` are the paths of the tables that lie in `base`; every other one is a new one.
    """

    def __init__(self, base: Storage, scratch: Storage, tables: Iterable[str]) -> None:
        self._base, self._scratch = base, scratch
        self._tables = frozenset(tables)
        self._gone: set[str] = set()
        self.uri = base.uri
        self.lance_options = base.lance_options

    def table_uri(self, path: str) -> str:
        """Where a table is, or shall be made."""
        place = self._base if path in self._tables else self._scratch
        return place.table_uri(path)

    def walk(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file of both, the changed one where both have it."""
        changed = {file.path: file for file in self._scratch.walk(prefix)}
        yield from changed.values()
        for file in self._base.walk(prefix):
            if file.path not in changed and file.path not in self._gone:
                yield file

    def files(self, prefix: str = "") -> list[StoredFile]:
        """The same in path order."""
        return sorted(self.walk(prefix), key=lambda file: file.path)

    def exists(self, path: str) -> bool:
        """Is there a file at `path`?"""
        return self._scratch.exists(path) or (path not in self._gone and self._base.exists(path))

    def read(self, path: str) -> bytes:
        """NotFound where there is none."""
        return self._holder(path).read(path)

    def stream(self, path: str) -> AbstractContextManager[BufferedIOBase]:
        """NotFound where there is none."""
        return self._holder(path).stream(path)

    def put(self, path: str, content: bytes) -> None:
        """Into the scratch."""
        self._scratch.put(path, content)

    def create(self, path: str, content: bytes) -> bool:
        """False if either has it."""
        return not self.exists(path) and self._scratch.create(path, content)

    def settle(self, path: str) -> None:
        """Nothing here shall survive anything."""

    def delete(self, paths: Iterable[str]) -> None:
        """They are gone for whoever looks through this."""
        paths = list(paths)
        self._gone.update(paths)
        self._scratch.delete(paths)

    def move(self, path: str, to: str) -> None:
        """Give a file another path, for whoever looks through this."""
        self.put(to, self.read(path))
        self.delete([path])

    def probe(self) -> None:
        """Whether the real place can be written is not asked."""

    def _holder(self, path: str) -> Storage:
        if self._scratch.exists(path):
            return self._scratch
        if path in self._gone:
            raise NotFound(f"there is no file {path} in {self.uri}")
        return self._base
