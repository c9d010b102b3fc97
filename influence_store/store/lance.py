"""The only importer of LanceDB: write a table once, read it back at its exact version.

Writing goes through lancedb, reading through its Lance core (pylance of the same core version),
which opens any version directly and imports in a third of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from influence_store.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.protocols import Floats
    from influence_store.store.storage import Storage

#: Input chunks of this many rows scan 2-4 times faster than one big chunk.
CHUNK_ROWS = 8192


def write_table(
    storage: Storage, path: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> int:
    """Create the table `path` (…/name.lance) and return its version; the path must be new."""
    import lancedb

    folder, _, name = storage.table_uri(path).rpartition("/")
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    database = lancedb.connect(folder, storage_options=storage.lance_options)
    table = database.create_table(
        name.removesuffix(".lance"), data=reader, schema=schema, mode="create"
    )
    return int(table.version)


class PinnedTable:
    """A table at one version, whatever happens to it later."""

    def __init__(self, storage: Storage, path: str, version: int) -> None:
        import lance

        try:
            self._dataset = lance.dataset(
                storage.table_uri(path), version=version, storage_options=storage.lance_options
            )
        except (ValueError, OSError) as error:
            raise IntegrityError(
                f"block {path} cannot be opened at version {version}: {str(error)[:200]}",
                hint="see what is damaged: influence-store verify",
            ) from error

    @property
    def schema(self) -> pa.Schema:
        """Of the stored columns."""
        return self._dataset.schema

    def count(self) -> int:
        """Rows in the table."""
        return int(self._dataset.count_rows())

    def scan(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows in stored order, only `columns`."""
        scanner = self._dataset.scanner(
            columns=list(columns), batch_size=CHUNK_ROWS, scan_in_order=True
        )
        yield from scanner.to_batches()

    def take(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows at `offsets` (0-based positions in stored order), in that order."""
        return self._dataset.take(list(offsets), columns=list(columns))

    def nearest(self, query: Floats, k: int, condition: str) -> pa.Table:
        """The `k` rows with the largest dot product of `vector` and `query`, by a full search.

        Only rows that fulfil the SQL `condition`, if there is one: sid and vector.
        """
        return self._dataset.to_table(
            columns=["sid", "vector"],
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
