"""A store in a folder of a local disk."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from influence_store.durable import sync
from influence_store.errors import Forbidden, NotFound, StorageError
from influence_store.store.storage import StoredFile, inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedIOBase


#: Folders of this depth are not removed when they are empty.
_KEPT_LEVELS = 2


class LocalStorage:
    """Files below `root`. Nothing is durable on a local disk before it is synced, folder by folder
    up to the root: a rename is on the disk only when its folder is.
    """

    lance_options: dict[str, str] | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def table_uri(self, path: str) -> str:
        """The path itself."""
        return str(self._place(path))

    def walk(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below `prefix`, folder by folder."""
        for folder, _, names in os.walk(self._place(prefix) if prefix else self.root):
            for name in names:
                path = Path(folder, name)
                try:
                    facts = path.lstat()
                except FileNotFoundError:  # removed by another process since it was listed
                    continue
                place = path.relative_to(self.root).as_posix()
                yield StoredFile(place, facts.st_size, facts.st_mtime)

    def files(self, prefix: str = "") -> list[StoredFile]:
        """Every file below `prefix`, in path order."""
        return sorted(self.walk(prefix), key=lambda file: file.path)

    def exists(self, path: str) -> bool:
        """Is there a file at `path`?"""
        with _told(str(self.root / path)):
            return self._place(path).is_file()

    def read(self, path: str) -> bytes:
        """NotFound where there is none."""
        with self.stream(path) as stream:
            return stream.read()

    @contextmanager
    def stream(self, path: str) -> Iterator[BufferedIOBase]:
        """NotFound where there is none."""
        with _told(path), self._place(path).open("rb") as stream:
            yield stream

    def put(self, path: str, content: bytes) -> None:
        """Through a file of another name, which takes the name when it is whole."""
        with self._part(path, content) as part:
            os.replace(part, self._place(path))

    def create(self, path: str, content: bytes) -> bool:
        """A link to a name that exists fails, whoever comes second."""
        with self._part(path, content) as part:
            try:
                os.link(part, self._place(path))
            except FileExistsError:
                return False
        return True

    def settle(self, path: str) -> None:
        """fsync every file, then every folder from the leaves up to the root."""
        top = self._place(path)
        with _told(path):
            folders = [top]
            for found in top.rglob("*"):
                if found.is_dir():
                    folders.append(found)
                else:
                    sync(found)
            for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
                sync(folder)
            self._sync_above(top)

    def delete(self, paths: Iterable[str]) -> None:
        """Folders that are left empty go too."""
        for path in paths:
            place = self._place(path)
            with _told(path):
                place.unlink(missing_ok=True)
            for folder in place.parents:
                # Two levels stay (blocks/KIND): a writer may be about to put a table there.
                depth = len(folder.relative_to(self.root).parts)
                if depth <= _KEPT_LEVELS or not _remove_if_empty(folder):
                    break

    def move(self, path: str, to: str) -> None:
        """Give a file another path."""
        target = self._place(to)
        with _told(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._place(path), target)
        sync(target.parent)
        self._sync_above(target.parent)

    def probe(self) -> None:
        """Write, create and remove a file."""
        path = f"tmp/probe-{uuid.uuid4().hex}"
        try:
            if not self.create(path, b"1") or self.create(path, b"2"):
                raise StorageError(
                    f"{self.uri} lets two writers create the same file",
                    hint="keep the store on a local disk or an object storage",
                )
        finally:
            self.delete([path])

    def _place(self, path: str) -> Path:
        return self.root / inside(path)

    @contextmanager
    def _part(self, path: str, content: bytes) -> Iterator[Path]:
        """`content` on the disk under a name of its own; afterwards the place it went to is too."""
        target = self._place(path)
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
        with _told(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(content)
                sync(part)
                yield part
            finally:
                part.unlink(missing_ok=True)
            sync(target.parent)
            self._sync_above(target.parent)

    def _sync_above(self, folder: Path) -> None:
        for parent in folder.parents:
            if not parent.is_relative_to(self.root):
                break
            sync(parent)


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Errors of the operating system as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path} in the store") from error
    except PermissionError as error:
        raise Forbidden(f"{path}: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            hint = "choose a place where files can be made; here a store can only be read"
            raise Forbidden(f"{path}: {error.strerror}", hint=hint) from error
        raise StorageError(f"{path}: {error.strerror}") from error
