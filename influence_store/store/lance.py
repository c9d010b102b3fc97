"""The only importer of LanceDB: write a table once, read it back at its exact version.

Writing goes through lancedb, reading through its Lance core (pylance of the same core version),
which opens any version directly and imports in a third of the time.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from influence_store.errors import Forbidden, IntegrityError, StorageError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.protocols import Floats
    from influence_store.store.storage import Storage

#: Input chunks of this many rows scan 2-4 times faster than one big chunk.
CHUNK_ROWS = 8192
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAILED = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}


def write_table(
    storage: Storage, path: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> int:
    """Create the table `path` (…/name.lance) and return its version; the path must be new."""
    import lancedb

    folder, _, name = storage.table_uri(path).rpartition("/")
    failed: list[BaseException] = []
    reader = pa.RecordBatchReader.from_batches(schema, _remembering(batches, failed))
    with _told(path):
        try:
            database = lancedb.connect(folder, storage_options=storage.lance_options)
            table = database.create_table(
                name.removesuffix(".lance"), data=reader, schema=schema, mode="create"
            )
        except RuntimeError:
            if failed:  # Arrow turns whatever the batches raise, even Ctrl-C, into its own error
                raise failed[0] from None
            raise
    return int(table.version)


class PinnedTable:
    """A table at one version, whatever happens to it later."""

    def __init__(self, storage: Storage, path: str, version: int) -> None:
        import lance

        self._path = path
        with _reading(path):
            self._dataset = lance.dataset(
                storage.table_uri(path), version=version, storage_options=storage.lance_options
            )

    @property
    def schema(self) -> pa.Schema:
        """Of the stored columns."""
        return self._dataset.schema

    def count(self) -> int:
        """Rows in the table."""
        with _reading(self._path):
            return int(self._dataset.count_rows())

    def scan(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows in stored order, only `columns`."""
        with _reading(self._path):
            scanner = self._dataset.scanner(
                columns=list(columns), batch_size=CHUNK_ROWS, scan_in_order=True
            )
            batches = scanner.to_batches()
        while True:
            with _reading(self._path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def take(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows at `offsets` (0-based positions in stored order), in that order."""
        with _reading(self._path):
            return self._dataset.take(list(offsets), columns=list(columns))

    def nearest(self, query: Floats, k: int, condition: str) -> pa.Table:
        """The `k` rows with the largest dot product of `vector` and `query`, by a full search.

        Only rows that fulfil the SQL `condition`, if there is one: sid, vector, _distance.
        """
        with _told(self._path):
            return self._dataset.to_table(
                columns=["sid", "vector", "_distance"],
                filter=condition or None,
                prefilter=True,
                nearest={
                    "column": "vector",
                    "q": query,
                    "k": k,
                    "metric": "dot",
                    "use_index": False,
                },
            )


def _remembering(
    batches: Iterator[pa.RecordBatch], failed: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except BaseException as error:
        failed.append(error)
        raise


@contextmanager
def _told(path: str) -> Iterator[None]:
    """A place that fails, or refuses, is no damaged block; Lance has one error for all of them."""
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        text = str(error)
        status = re.search(r"status code: (\d{3})", text)
        system = re.search(r"os error (\d+)", text)
        number = int(system[1]) if system else 0
        told = f"status {status[1]}" if status else os.strerror(number) if system else "no answer"
        if number in _FULL and not status:
            raise StorageError(
                f"{path} cannot be written: {told}",
                hint="make room (see: df -h), then run the same command again; "
                "nothing half written is ever read",
            ) from error
        if (status and status[1] in {"401", "403"}) or number in _REFUSED:
            raise Forbidden(
                f"access to {path} is refused ({told})",
                hint="check the credentials in the environment, or the rights of this user",
            ) from error
        away = "HTTP error" in text or (status and status[1] >= "500")
        if away or number in _FAILED:
            raise Unreachable(
                f"{path} cannot be reached ({told})",
                hint="when the place answers again, run the command again; "
                "nothing half written is ever read",
            ) from error
        raise


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """What can be reached and still not be read is damaged."""
    try:
        with _told(path):
            yield
    except (RuntimeError, OSError, ValueError) as error:
        raise IntegrityError(
            f"block {path} cannot be read: {str(error)[:200]}",
            hint="see what is damaged: influence-store verify",
        ) from error
