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
    from typing import Any

    from influence_store.jobs.inventory import Owner, Vouched
    from influence_store.store.storage import Storage

_READ_BYTES = 1 << 20
#: A table whose bytes are whole but which cannot be read; told beside `changed`, `missing` …
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Work:
    """One block or artifact, as plain values; an artifact has no `table`."""

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


def work_on(owner: Owner, files: Sequence[Vouched]) -> Work:
    """What there is to look at."""
    listed = tuple((file.path, file.size, file.sha256) for file in files)
    if isinstance(owner, Artifact):
        return Work(owner.sha256, listed)
    return Work(owner.path, listed, owner.path, owner.lance_version, owner.n_rows, owner.checksum)


def opens(storage: Storage, work: Work) -> list[Finding]:
    """The quick look: does the table open at its version, with its rows?"""
    try:
        rows = PinnedTable(storage, work.owner, work.lance_version).count()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of LanceDB is no Exception
        return [_unreadable(work, error)]
    return _rows(work, rows)


def inspect(storage: Storage, work: Work, advisory: str = "") -> list[Finding]:
    """The long look: every byte of every file, then every row of the table."""
    findings = [
        finding
        for path, size, sha256 in work.files
        if not (advisory and path.endswith(advisory))
        for finding in _file(storage, path, size, sha256)
    ]
    if findings or work.table is None:
        return findings
    try:
        table = PinnedTable(storage, work.table, work.lance_version)
        read = checksum_of(table, table.schema)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return [_unreadable(work, error)]
    if read.n_rows != work.n_rows:
        return _rows(work, read.n_rows)
    if (found := read.hexdigest()) != work.checksum:
        return [Finding("checksum", work.owner, f"values with checksum {found}", work.checksum)]
    return []


def inspect_in_children(
    uri: str, works: Sequence[Work], *, advisory: str = "", max_mb_per_s: float | None = None
) -> Iterator[tuple[Work, list[Finding]]]:
    """`inspect` each of `works` in the place `uri`, in a process that may die of it.

    StorageError if the place cannot be read, or no process can be started.
    """
    done = 0
    while done < len(works):
        begun = False
        for told in _one_child(uri, works[done:], advisory, max_mb_per_s):
            if isinstance(told, InfluenceStoreError):
                raise told
            if isinstance(told, int):
                if not begun:
                    raise StorageError(f"the checking process ended with {told} before it began")
                yield works[done], [_killer(works[done], told)]
                done += 1
            elif told is None:
                begun = True
            else:
                yield works[done], told
                done += 1


def _one_child(
    uri: str, works: Sequence[Work], advisory: str, max_mb_per_s: float | None
) -> Iterator[list[Finding] | InfluenceStoreError | int | None]:
    """None when it has begun, then what it finds in each; its exit code if it died."""
    # A fresh interpreter: LanceDB's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(uri, tuple(works), advisory, max_mb_per_s, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        for _ in range(len(works) + 1):
            try:
                yield ours.recv()
            except EOFError:
                process.join()
                yield process.exitcode or 0
                return
    finally:
        process.terminate()
        process.join()
        ours.close()


def _child(
    uri: str, works: tuple[Work, ...], advisory: str, limit: float | None, parent: Connection
) -> None:
    # What a dying LanceDB prints helps nobody; the parent tells which block it was.
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    storage = storage_at(uri)
    parent.send(None)
    started, read = time.monotonic(), 0
    for work in works:
        step("inspecting")
        answer: Any
        try:
            answer = inspect(storage, work, advisory)
        except InfluenceStoreError as error:
            answer = error
        parent.send(answer)
        read += work.size
        if limit is not None:
            time.sleep(max(0.0, read / (limit * 1e6) - (time.monotonic() - started)))


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


def _rows(work: Work, rows: int) -> list[Finding]:
    if rows == work.n_rows:
        return []
    return [Finding("rows", work.owner, f"{rows} rows", f"{work.n_rows} rows")]


def _unreadable(work: Work, error: BaseException) -> Finding:
    cause = error.__cause__ if isinstance(error, IntegrityError) and error.__cause__ else error
    told = str(cause).splitlines()[0][:160] if str(cause) else type(cause).__name__
    return Finding(UNREADABLE, work.owner, f"LanceDB: {told}", f"a table of {work.n_rows} rows")


def _killer(work: Work, exit_code: int) -> Finding:
    found = f"reading it ended the checking process (exit code {exit_code})"
    return Finding(UNREADABLE, work.owner, found, f"a table of {work.n_rows} rows")
