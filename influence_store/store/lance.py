"""The only importer of LanceDB: write a table once, read it back at its exact version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from influence_store.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Input chunks of this many rows scan 2-4 times faster than one big chunk.
CHUNK_ROWS = 8192


def write_table(
    folder: Path, name: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> int:
    """Create `folder/name.lance` from `batches` and return its version; the name must be new."""
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    table = _connect(folder).create_table(name, data=reader, schema=schema, mode="create")
    return int(table.version)


class PinnedTable:
    """A table at one version, whatever happens to it later."""

    def __init__(self, folder: Path, name: str, version: int) -> None:
        self.name = name
        try:
            self._table = _connect(folder).open_table(name, version=version)
        except (ValueError, FileNotFoundError, RuntimeError, OSError) as error:
            raise IntegrityError(
                f"block {name} cannot be opened at version {version}: {str(error)[:200]}",
                hint="run: influence-store verify",
            ) from error

    @property
    def schema(self) -> pa.Schema:
        """Of the stored columns."""
        return self._table.schema

    def count(self) -> int:
        """Rows in the table."""
        return int(self._table.count_rows())

    def scan(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows in stored order, only `columns`."""
        query = self._table.search().select(list(columns)).limit(None)
        yield from query.to_batches(CHUNK_ROWS)

    def take(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows at `offsets` (0-based positions in stored order), in ascending order."""
        return self._table.take_offsets(list(offsets)).select(list(columns)).to_arrow()


def _connect(folder: Path) -> Any:
    import lancedb

    folder.mkdir(parents=True, exist_ok=True)
    return lancedb.connect(str(folder))
