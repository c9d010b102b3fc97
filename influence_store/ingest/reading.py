"""Files in, samples out: the whole of reading in one loop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from influence_store.errors import InputError, UsageError
from influence_store.ingest.canonical import to_sample
from influence_store.ingest.csv_table import read_csv
from influence_store.ingest.json_array import read_json_array
from influence_store.ingest.json_lines import read_json_lines
from influence_store.ingest.layouts import Layout, detect, from_mapping
from influence_store.ingest.parquet_table import read_parquet
from influence_store.ingest.rows import Malformed, Record, Rejected, Row, found
from influence_store.ingest.source import Source, inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from influence_store.ingest.compression import Readable
    from influence_store.ingest.formats import Format

MAX_RECORD_BYTES = 8 << 20

_READERS: dict[Format, Callable[[Source, int], Iterator[Record | Rejected]]] = {
    "jsonl": read_json_lines,
    "array": read_json_array,
    "csv": read_csv,
    "parquet": read_parquet,
}
_TABLES: tuple[Format, ...] = ("csv", "parquet")
_ID_LINE = re.compile(rb'\s*"?([0-9a-fA-F]{32})"?\s*')
_ID = re.compile(r"[0-9a-fA-F]{32}")


def read(
    paths: Sequence[str | Path],
    *,
    mapping: Mapping[str, str] | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
    allow_empty: bool = False,
    stdin: Readable | None = None,
) -> Iterator[Row | Rejected]:
    """Samples of all files in order; a bad record comes as a Rejected value in its place.

    A path may be `-`, which is `stdin` or the process's own standard input. `mapping` is field →
    key for every record; without it each record's own keys decide. Memory is bounded by a few
    times `max_record_bytes`, whatever the size of the files. Raises before the first row where a
    path cannot be read or its format is unknown (NotFound, Forbidden, InputError), and later where
    nothing more can be read from a file (InputError).
    """
    if not paths:
        raise UsageError("no files to read", hint="influence-store ingest FILE… --dataset NAME")
    if [str(path) for path in paths].count("-") > 1:
        raise UsageError("standard input ('-') can be read only once")
    layout = from_mapping(mapping) if mapping else None
    sources = [inspect(path, stdin) for path in paths]
    return _rows(sources, layout, max_record_bytes, allow_empty)


def read_removed(
    path: str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
    stdin: Readable | None = None,
) -> Iterator[bytes | Row | Rejected]:
    """What a `--removed` file names: sample ids as bytes, or whole rows.

    A line may be 32 hex digits, an object with `sample_id`, or a record as `read` takes it.
    Raises as `read` does.
    """
    layout = from_mapping(mapping) if mapping else None
    source = inspect(path, stdin)
    return _removed(source, layout, max_record_bytes)


def _rows(
    sources: list[Source], layout: Layout | None, limit: int, allow_empty: bool
) -> Iterator[Row | Rejected]:
    for source in sources:
        for record in _records(source, limit):
            yield (
                _row(source, record, layout, allow_empty) if isinstance(record, Record) else record
            )


def _removed(source: Source, layout: Layout | None, limit: int) -> Iterator[bytes | Row | Rejected]:
    for record in _records(source, limit):
        if isinstance(record, Rejected):
            line = _ID_LINE.fullmatch(record.raw)
            yield bytes.fromhex(line[1].decode()) if line else record
        elif "sample_id" in record.value:
            yield _named_id(source.name, record)
        else:
            yield _row(source, record, layout, allow_empty=True)


def _records(source: Source, limit: int) -> Iterator[Record | Rejected]:
    empty = True
    for record in _READERS[source.format](source, limit):
        empty = False
        yield record
    if empty:
        raise InputError(f"{source.name}: 0 records", hint="the file holds no data")


def _row(
    source: Source, record: Record, layout: Layout | None, allow_empty: bool
) -> Row | Rejected:
    value = record.value
    try:
        chosen = layout or _detect(source, record)
        sample = to_sample(value, chosen, allow_empty=allow_empty)
    except Malformed as error:
        return error.rejected(source.name, record.line, record.raw)
    extra = {key: part for key, part in value.items() if key not in chosen.keys}
    return Row(source.name, record.line, sample, record.raw, extra)


def _detect(source: Source, record: Record) -> Layout:
    keys = frozenset(record.value)
    nulls = {key for key in keys if record.value[key] is None}
    try:
        return detect(keys - nulls)
    except Malformed as error:
        if source.format in _TABLES and not nulls:
            # All rows of a table have these columns: no need to reject them one by one.
            raise InputError(f"{source.name}: {error.reason}", hint=error.hint) from None
        return detect(keys)


def _named_id(name: str, record: Record) -> bytes | Rejected:
    value = record.value["sample_id"]
    if isinstance(value, str) and _ID.fullmatch(value):
        return bytes.fromhex(value)
    return Malformed(f"sample_id: found {found(value)}, expected 32 hex digits").rejected(
        name, record.line, record.raw
    )
