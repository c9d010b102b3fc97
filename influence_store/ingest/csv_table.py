"""Records of a CSV file (RFC 4180, comma, UTF-8): the first line names the columns."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from influence_store.errors import InputError
from influence_store.ingest.json_lines import too_long
from influence_store.ingest.lines import lines
from influence_store.ingest.rows import Malformed, Record, Rejected, shown
from influence_store.ingest.strict_json import decode, dump_object, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.ingest.source import Source

_UNREADABLE = "_csv"


def read_csv(source: Source, limit: int) -> Iterator[Record | Rejected]:
    """Each record as text by column; `line` is the physical line on which it starts.

    InputError on repeated column names, and where quotes are so broken, or a record so long, that
    nobody can tell where the next record starts.
    """
    # The module's own limit on one cell is process-wide; raising it harms nobody.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    text = _Lines(source, limit)
    rows = csv.reader(text, strict=True)
    header = _next(rows, text, source.name) or []
    _check_header(header, source.name)
    while True:
        text.start()
        cells = _next(rows, text, source.name)
        if cells is None:
            return
        if cells:
            yield _record(source.name, text, header, cells)


def _record(name: str, text: _Lines, header: list[str], cells: list[str]) -> Record | Rejected:
    try:
        decode(text.raw)
        if len(cells) != len(header):
            raise Malformed(f"found {len(cells)} cells, expected {len(header)}: one per column")
        raw = dump_object(dict(zip(header, cells, strict=True)))
        return Record(text.first, raw, parse_object(raw))
    except Malformed as error:
        kept = dump_object({_UNREADABLE: text.raw.decode(errors="backslashreplace")})
        return error.rejected(name, text.first, kept)


def _next(rows: Iterator[list[str]], text: _Lines, name: str) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        raise InputError(
            f"{name}:{text.first}: broken CSV: {error}",
            hint='a quote inside a quoted cell is written twice: "", and every quote is closed',
        ) from error


def _check_header(header: list[str], name: str) -> None:
    if len(header) == 1 and (other := next((one for one in ";\t|" if one in header[0]), None)):
        raise InputError(
            f"{name}:1: found one column, {shown(header[0])!r}, expected commas between columns",
            hint=f"{other!r} seems to separate them: save the file with commas, or as JSON lines",
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(
            f"{name}:1: the column {shown(twice[0])!r} appears twice", hint="rename one of them"
        )
    if any("\udc80" <= character <= "\udcff" for column in header for character in column):
        raise InputError(f"{name}:1: the column names are not UTF-8", hint="re-encode the file")


class _Lines:
    """Physical lines for the csv module, which remembers those of the current record."""

    def __init__(self, source: Source, limit: int) -> None:
        self.first = 1
        self.raw = b""
        self._number = 0
        self._name = source.name
        self._limit = limit
        self._lines = lines(source.content(), limit)

    def start(self) -> None:
        """The next line begins a new record."""
        self.first, self.raw = self._number + 1, b""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._number = line.number
            if line.data is None or len(self.raw) + len(line.data) > self._limit:
                raise InputError(
                    f"{self._name}:{self.first}: {too_long(self._limit).reason}",
                    hint="is a quote never closed? Otherwise: --max-record-bytes N",
                )
            data = line.data + (b"\n" if line.ended else b"")
            self.raw += data
            # Bytes that are not UTF-8 must not hide where the record ends; it is refused later.
            yield data.decode(errors="surrogateescape")
