"""Records of a JSONL file: one object per line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.ingest.lines import lines
from influence_store.ingest.rows import Malformed, Record, Rejected
from influence_store.ingest.strict_json import parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.ingest.source import Source


def read_json_lines(source: Source, limit: int) -> Iterator[Record | Rejected]:
    """Each nonblank line as a Record, or Rejected where it is not one strict JSON object."""
    for line in lines(source.content(), limit):
        if line.data is None:
            yield too_long(limit).rejected(source.name, line.number, b"")
            continue
        data = line.data.removesuffix(b"\r")
        if not data.strip():
            continue
        try:
            yield Record(line.number, data, parse_object(data))
        except Malformed as error:
            fault = error if line.ended else _torn(error)
            yield fault.rejected(source.name, line.number, data)


def too_long(limit: int) -> Malformed:
    """The fault of a record that is larger than the caller allows."""
    return Malformed(f"record longer than {limit:,} bytes", hint="allow more: --max-record-bytes N")


def _torn(error: Malformed) -> Malformed:
    return Malformed(
        f"the file ends inside a record: still being written? ({error.reason})", hint=error.hint
    )
