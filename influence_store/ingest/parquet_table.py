"""Records of a Parquet file: one per row, read in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.errors import InputError
from influence_store.ingest.json_lines import too_long
from influence_store.ingest.rows import Malformed, Record, Rejected, shown
from influence_store.ingest.strict_json import dump_object, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.ingest.source import Source

_BATCH = 256


def read_parquet(source: Source, limit: int) -> Iterator[Record | Rejected]:
    """Each row as a Record; `line` is its position in the file, from 1.

    Dates and times become ISO 8601 text. Rejected: text that is not UTF-8 and values that JSON has
    no form for (bytes, decimals, NaN). InputError if the file is damaged or repeats a column.
    """
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    with source.seekable() as file:
        try:
            table = parquet.ParquetFile(file)
            _check_columns(source.name, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_BATCH):
                for row in _rows(batch):
                    number += 1
                    yield _record(source.name, number, row, limit)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{source.name}: damaged Parquet file: {shown(str(error), 200)}",
                hint="copy or download it again",
            ) from error


def _check_columns(name: str, columns: list[str]) -> None:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            f"{name}: the column {shown(twice[0])!r} appears twice", hint="rename one of them"
        )


def _rows(batch: Any) -> Iterator[dict[str, Any] | Malformed]:
    try:
        yield from batch.to_pylist(maps_as_pydicts="strict")
    except (UnicodeDecodeError, KeyError):  # one bad cell: find out which row has it
        for k in range(batch.num_rows):
            try:
                yield batch.slice(k, 1).to_pylist(maps_as_pydicts="strict")[0]
            except (UnicodeDecodeError, KeyError) as error:
                yield Malformed(f"a cell cannot be read: {shown(str(error), 120)}")


def _record(
    name: str, number: int, row: dict[str, Any] | Malformed, limit: int
) -> Record | Rejected:
    raw = b""
    try:
        if isinstance(row, Malformed):
            raise row
        raw = _dump(row)
        if len(raw) > limit:
            raw = b""
            raise too_long(limit)
        return Record(number, raw, parse_object(raw))
    except Malformed as error:
        return error.rejected(name, number, raw)


def _dump(row: dict[str, Any]) -> bytes:
    try:
        return dump_object(row)
    except (ValueError, TypeError) as error:
        raise Malformed(f"cannot be written as JSON: {error}") from None
