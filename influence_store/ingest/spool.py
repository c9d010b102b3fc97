"""The parsed input on disk: distinct rows as an Arrow file, so that memory stays flat."""

from __future__ import annotations

import errno
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from influence_store.errors import Forbidden, ReadError, StorageError
from influence_store.ingest import read
from influence_store.ingest.reading import MAX_RECORD_BYTES
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.schema.identity import sample_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy.typing as npt

    from influence_store.ingest import Rejected, Row
    from influence_store.protocols import Ids

_BATCH_ROWS = 4096
_SCHEMA = pa.schema([field for field in [*tables.SAMPLES, *tables.ROWS] if field.name != "sid"])


@dataclass(frozen=True)
class Spool:
    """Everything that could be read, first occurrences only; `ids` are in file order."""

    path: Path
    ids: list[bytes]
    duplicates: int
    rejected: list[Rejected]

    def batches(
        self, schema: pa.Schema, sids: Ids, wanted: npt.NDArray[np.bool_]
    ) -> Iterator[pa.RecordBatch]:
        """The wanted rows under `schema`, row k with `sids[k]`, in ascending sid order."""
        places = np.flatnonzero(wanted)
        places = places[np.argsort(sids[places], kind="stable")]
        columns = [name for name in schema.names if name != "sid"]
        for k in range(0, len(places), _BATCH_ROWS):
            part = places[k : k + _BATCH_ROWS]
            arrays = [pa.array(sids[part]), *_taken(self.path, part, columns)]
            yield pa.record_batch(arrays, schema=schema)


def _taken(path: Path, places: Ids, columns: Sequence[str]) -> list[pa.Array]:
    """Copies of the rows at `places` of the file, column by column.

    The file is mapped anew each time: what was looked at before is let go. And its batches are
    never put together, which a column of texts of more than 2 GiB could not bear.
    """
    where = places // _BATCH_ROWS
    order = np.argsort(where, kind="stable")
    batches, first = np.unique(where[order], return_index=True)
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        pieces = [
            reader.get_batch(int(batch)).select(columns).take(pa.array(inside % _BATCH_ROWS))
            for batch, inside in zip(batches, np.split(places[order], first[1:]), strict=True)
        ]
    back = pa.array(np.argsort(order, kind="stable"))
    table = pa.Table.from_batches(pieces).combine_chunks().take(back)
    return [table[name].combine_chunks() for name in columns]


@dataclass(frozen=True)
class ReadSettings:
    """How records are read: see `ingest.read`."""

    mapping: Mapping[str, str] | None = None
    max_record_bytes: int = MAX_RECORD_BYTES
    allow_empty: bool = False


def spool(
    folder: Path, paths: Sequence[str], settings: ReadSettings
) -> AbstractContextManager[Spool]:
    """Parse `paths` (maybe none) into a temporary file; see `spool_records`."""
    return spool_records(folder, read(paths, **vars(settings)) if paths else ())


@contextmanager
def spool_records(folder: Path, records: Iterable[Row | Rejected]) -> Iterator[Spool]:
    """Keep `records` in a temporary file below `folder`, gone when the block ends.

    Forbidden or StorageError if nothing can be written there.
    """
    here = folder / uuid.uuid4().hex
    try:
        yield _made(here, records)
    finally:
        shutil.rmtree(here, ignore_errors=True)


def _made(here: Path, records: Iterable[Row | Rejected]) -> Spool:
    # What the input's own files do wrong comes as an error of ours already.
    try:
        here.mkdir(parents=True)
        return _fill(here / "rows.arrow", records)
    except OSError as error:
        told = f"{here.parent} cannot be written: {error.strerror or error}"
        if error.errno == errno.EROFS:
            raise Forbidden(told, hint="this store can only be read here") from error
        if isinstance(error, PermissionError):
            raise Forbidden(told, hint="this store can only be read by this user") from error
        hint = "make room (see: df -h), then run the same command again"
        raise StorageError(told, hint=hint) from error


def _fill(path: Path, records: Iterable[Row | Rejected]) -> Spool:
    seen: dict[bytes, None] = {}
    rejected: list[Rejected] = []
    pending: list[tuple[Any, ...]] = []
    duplicates = 0
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
        progress("reading", None) as advance,
    ):
        for record in records:
            advance()
            if isinstance(record, ReadError):
                rejected.append(record)
                continue
            identity = sample_id(record.sample)
            if identity in seen:
                duplicates += 1
                continue
            seen[identity] = None
            pending.append(_values(identity, record))
            if len(pending) == _BATCH_ROWS:
                writer.write_batch(_batch(pending))
                pending = []
        if pending:
            writer.write_batch(_batch(pending))
    return Spool(path, list(seen), duplicates, rejected)


def _values(identity: bytes, row: Row) -> tuple[Any, ...]:
    """One row in the order of `_SCHEMA`."""
    sample = row.sample
    prompt, response = sample.prompt, sample.response
    turns = orjson.dumps([[turn.role, turn.text] for turn in sample.turns]).decode()
    return (
        *(identity, prompt, response, sample.system, sample.tools, turns),
        *(len(prompt), len(response)),
        *(row.file, row.line, row.raw, orjson.dumps(dict(row.extra)).decode()),
    )


def _batch(rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=_SCHEMA)
