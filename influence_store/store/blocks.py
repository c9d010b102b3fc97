"""Staging of one block: write → read back → sync to disk → hash every file.

Nothing here makes a block visible; that is one SQL transaction in `runs.py`. LanceDB neither
syncs files nor keeps checksums, so both are done here before SQL may vouch for the bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import xxhash

from influence_store.errors import IntegrityError
from influence_store.store.faults import step
from influence_store.store.lance import PinnedTable, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pyroaring import BitMap

    from influence_store.store.storage import Storage


@dataclass(frozen=True)
class StagedFile:
    """A file of a block: path relative to the block's folder, size in bytes, sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class StagedBlock:
    """Written, read back, synced and hashed, but vouched for by nobody yet."""

    kind: str
    path: str
    lance_version: int
    n_rows: int
    checksum: str
    bits: BitMap
    files: tuple[StagedFile, ...]
    producer_id: int | None = None
    dataset_id: int | None = None
    #: {"store", "run"} that it was pulled from; None = made here.
    origin: Mapping[str, str] | None = None


class Checksum:
    """Logical checksum of a stream of record batches, blind to how the rows are batched."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = [_ColumnHash() for _ in schema]
        self.n_rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in one batch of the schema given at the start."""
        self.n_rows += batch.num_rows
        columns = batch.select(self._schema.names).columns
        for hashed, column in zip(self._columns, columns, strict=True):
            hashed.update(column)

    def hexdigest(self) -> str:
        """32 hex digits over all columns."""
        total = xxhash.xxh3_128()
        for name, hashed in zip(self._schema.names, self._columns, strict=True):
            total.update(name.encode() + hashed.digest())
        return total.hexdigest()


class _ColumnHash:
    """Which values are null, how long the texts are, and the values: each its own stream."""

    def __init__(self) -> None:
        self._nulls, self._lengths, self._values = (xxhash.xxh3_128() for _ in range(3))

    def digest(self) -> bytes:
        return b"".join(part.digest() for part in (self._nulls, self._lengths, self._values))

    def update(self, column: pa.Array) -> None:
        """No offsets, no padding; nulls count as their type's zero."""
        self._nulls.update(column.is_null().to_numpy(zero_copy_only=False).tobytes())
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            self._values.update(column.flatten().to_numpy(zero_copy_only=False).tobytes())
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            texts = column.cast(pa.large_binary()).fill_null(b"")
            if len(texts):
                offsets = np.frombuffer(texts.buffers()[1], np.int64)
                offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
                self._lengths.update(np.diff(offsets).tobytes())
                self._values.update(memoryview(texts.buffers()[2] or b"")[offsets[0] : offsets[-1]])
        elif pa.types.is_fixed_size_binary(kind):
            width = kind.byte_width
            raw = memoryview(column.buffers()[1])
            self._values.update(raw[column.offset * width : (column.offset + len(column)) * width])
        else:
            numbers = column.fill_null(0) if column.null_count else column
            self._values.update(numbers.to_numpy(zero_copy_only=False).tobytes())


def stage(
    storage: Storage,
    path: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    *,
    kind: str,
    bits: BitMap,
    producer_id: int | None = None,
    dataset_id: int | None = None,
    origin: Mapping[str, str] | None = None,
) -> StagedBlock:
    """Write the table `path` from `batches`; IntegrityError if it reads back differently."""
    written = Checksum(schema)

    def watched() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            written.update(batch)
            yield batch

    version = write_table(storage, path, watched(), schema)
    step("block-written")
    read_back = checksum_of(PinnedTable(storage, path, version), schema)
    if (read_back.n_rows, read_back.hexdigest()) != (written.n_rows, written.hexdigest()):
        raise IntegrityError(
            f"block {path} was written with {written.n_rows} rows but reads back differently "
            f"({read_back.n_rows} rows); nothing was published",
            hint="check disk and memory, then run the command again",
        )
    step("block-read-back")
    storage.settle(path)
    step("block-synced")
    files = tuple(hash_files(storage, path))
    step("block-hashed")
    return StagedBlock(
        kind,
        path,
        version,
        written.n_rows,
        written.hexdigest(),
        bits,
        files,
        producer_id,
        dataset_id,
        origin,
    )


def checksum_of(table: PinnedTable, schema: pa.Schema) -> Checksum:
    """Read the whole table and checksum what comes back."""
    checksum = Checksum(schema)
    for batch in table.scan(schema.names):
        checksum.update(batch)
    return checksum


def hash_files(storage: Storage, folder: str) -> Iterator[StagedFile]:
    """Size and sha256 of every file below `folder`, in path order."""
    for file in storage.files(folder):
        with storage.stream(file.path) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        yield StagedFile(file.path.removeprefix(f"{folder}/"), file.size, digest)
