"""Are the bytes of a block what SQL says? Asked in a child process, which corrupt bytes may kill.

One child looks at many blocks. When it dies, the block in its hands is to blame, and a new one goes
on behind it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.errors import InfluenceStoreError, IntegrityError, NotFound, StorageError
from influence_store.schema.catalog import Artifact
from influence_store.store.blocks import checksum_of
from influence_store.store.faults import step
from influence_store.store.lance import PinnedTable
from influence_store.store.location import storage_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from typing import Any

    from influence_store.jobs.inventory import Owner, Vouched
    from influence_store.store.storage import Storage

_READ_BYTES = 1 << 20
#: A table whose bytes are whole but which cannot be read; told beside `changed`, `missing` …
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Record:
    """What SQL says of one block or artifact; an artifact has no `table`."""

    owner: str
    files: tuple[tuple[str, int, str], ...]
    table: str | None = None
    lance_version: int = 0
    n_rows: int = 0
    checksum: str = ""

    @property
    def size(self) -> int:
        """Bytes that SQL vouches for."""
        return sum(size for _, size, _ in self.files)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as SQL says."""

    code: str
    path: str
    found: str
    expected: str


def record_of(owner: Owner, files: Sequence[Vouched]) -> Record:
    """As plain values, which can be sent away."""
    listed = tuple((file.path, file.size, file.sha256) for file in files)
    if isinstance(owner, Artifact):
        return Record(owner.sha256, listed)
    return Record(owner.path, listed, owner.path, owner.lance_version, owner.n_rows, owner.checksum)


def opens(storage: Storage, record: Record) -> list[Finding]:
    """The quick look: does the table open at its version, with its rows?"""
    try:
        rows = PinnedTable(storage, record.owner, record.lance_version).count()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of LanceDB is no Exception
        return [_unreadable(record, error)]
    return _rows(record, rows)


def inspect(storage: Storage, record: Record, advisory: str = "") -> list[Finding]:
    """The long look: every byte of every file, then every row of the table."""
    findings = [
        finding
        for path, size, sha256 in record.files
        if not (advisory and path.endswith(advisory))
        for finding in _file(storage, path, size, sha256)
    ]
    if findings or record.table is None:
        return findings
    try:
        table = PinnedTable(storage, record.table, record.lance_version)
        read = checksum_of(table, table.schema)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return [_unreadable(record, error)]
    if read.n_rows != record.n_rows:
        return _rows(record, read.n_rows)
    if (found := read.hexdigest()) != record.checksum:
        return [Finding("checksum", record.owner, f"values with checksum {found}", record.checksum)]
    return []


class Inspector:
    """Takes the long look in a child process; the first look starts it."""

    def __init__(self, uri: str, advisory: str = "", max_mb_per_s: float | None = None) -> None:
        self._asked = uri, advisory, max_mb_per_s
        self._child: tuple[SpawnProcess, Connection] | None = None

    def __enter__(self) -> Inspector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look(self, record: Record) -> list[Finding]:
        """See `inspect`; that the child died of `record` is a finding, too.

        StorageError if the place cannot be read, or no child can be started.
        """
        process, pipe = self._child or self._start()
        try:
            pipe.send(record)
            told = pipe.recv()
        except (EOFError, OSError):
            process.join()
            self.close()
            return [_killer(record, process.exitcode or 0)]
        if isinstance(told, InfluenceStoreError):
            raise told
        found: list[Finding] = told
        return found

    def close(self) -> None:
        """End the child, whatever it is at."""
        if self._child is not None:
            process, pipe = self._child
            process.terminate()
            process.join()
            pipe.close()
            self._child = None

    def _start(self) -> tuple[SpawnProcess, Connection]:
        # A fresh interpreter: LanceDB's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_look, args=(*self._asked, theirs), daemon=True)
        process.start()
        theirs.close()
        self._child = process, ours
        try:
            ours.recv()
        except (EOFError, OSError):
            process.join()
            self.close()
            raise StorageError(
                f"the checking process ended with {process.exitcode} before it began",
                hint="see what this machine lacks: influence-store doctor",
            ) from None
        return self._child


def _look(uri: str, advisory: str, limit: float | None, asker: Connection) -> None:
    """What the child does until nobody asks any more."""
    # What a dying LanceDB prints helps nobody; the parent tells which block it was.
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    storage = storage_at(uri)
    asker.send(None)
    while (record := _asked(asker)) is not None:
        began = time.monotonic()
        step("inspecting")
        answer: Any
        try:
            answer = inspect(storage, record, advisory)
        except InfluenceStoreError as error:
            answer = error
        if limit is not None:
            time.sleep(max(0.0, record.size / (limit * 1e6) - (time.monotonic() - began)))
        asker.send(answer)


def _asked(asker: Connection) -> Record | None:
    try:
        record: Record = asker.recv()
    except (EOFError, OSError):
        return None  # whoever asked has ended
    return record


def _file(storage: Storage, path: str, size: int, sha256: str) -> Iterator[Finding]:
    digest, length = hashlib.sha256(), 0
    try:
        with storage.stream(path) as stream:
            while part := stream.read(_READ_BYTES):
                digest.update(part)
                length += len(part)
    except NotFound:
        yield Finding("missing", path, "no such file", f"{size} bytes")
        return
    found = digest.hexdigest()
    if length != size:
        yield Finding("size", path, f"{length} bytes", f"{size} bytes")
    elif found != sha256:
        yield Finding("changed", path, f"bytes with sha256 {found[:16]}…", f"{sha256[:16]}…")


def _rows(record: Record, rows: int) -> list[Finding]:
    if rows == record.n_rows:
        return []
    return [Finding("rows", record.owner, f"{rows} rows", f"{record.n_rows} rows")]


def _unreadable(record: Record, error: BaseException) -> Finding:
    cause = error.__cause__ if isinstance(error, IntegrityError) and error.__cause__ else error
    told = str(cause).splitlines()[0][:160] if str(cause) else type(cause).__name__
    return Finding(UNREADABLE, record.owner, f"LanceDB: {told}", f"a table of {record.n_rows} rows")


def _killer(record: Record, exit_code: int) -> Finding:
    found = f"reading it ended the checking process (exit code {exit_code})"
    return Finding(UNREADABLE, record.owner, found, f"a table of {record.n_rows} rows")
