"""Records of a JSON array, however it is spread over lines, without loading it whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from influence_store.errors import InputError
from influence_store.ingest.json_lines import too_long
from influence_store.ingest.rows import Malformed, Record, Rejected
from influence_store.ingest.strict_json import dump_object, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.ingest.source import Source

# A whole string is one token, so brackets inside text do not count; a quote alone is a string
# whose end has not been read yet.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)

_OPEN, _CLOSE = (b"[", b"{"), (b"]", b"}")


def read_json_array(source: Source, limit: int) -> Iterator[Record | Rejected]:
    """Each element as a Record; `line` is its position in the array, from 1.

    InputError if an element is longer than `limit` or anything follows the array, because where
    the next record starts is then unknown.
    """
    number = 0
    array = ElementCutter(source.name, limit)
    for piece in source.content():
        for data in array.feed(piece):
            number += 1
            yield _record(source.name, number, data)
    if not array.closed:
        torn = Malformed("the file ends before the closing ] of the array: still being written?")
        yield torn.rejected(source.name, number + 1, _one_line(array.rest))


def _record(name: str, number: int, data: bytes) -> Record | Rejected:
    try:
        value = parse_object(data)
    except Malformed as error:
        return error.rejected(name, number, _one_line(data))
    return Record(number, dump_object(value), value)


class ElementCutter:
    """Cuts an array into the texts between the commas of its outermost level."""

    def __init__(self, name: str, limit: int) -> None:
        self.closed = False
        self.rest = b""  # of the element that is not complete yet
        self._name = name
        self._limit = limit
        self._scanned = 0  # how much of `rest` has been looked at
        self._depth = 0
        self._elements = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The elements that `piece` completes."""
        held = self.rest + piece
        if self.closed:
            self.rest = held
        else:
            for start, end in self._cuts(held):
                self._check_length(end - start)
                if self._elements or held[start:end].strip() or not self.closed:
                    self._elements += 1
                    yield held[start:end]
        if self.closed and self.rest.strip():
            raise InputError(f"{self._name}: something follows the closing ] of the array")
        self._check_length(len(self.rest))

    def _cuts(self, held: bytes) -> Iterator[tuple[int, int]]:
        start, scanned = 0, len(held)
        for token in _TOKEN.finditer(held, self._scanned):
            kind = token.group()
            if kind == b'"':
                scanned = token.start()
                break
            self._depth += (kind in _OPEN) - (kind in _CLOSE)
            if kind in _OPEN and self._depth == 1:
                start = token.end()
            elif self._depth == 0 or (kind == b"," and self._depth == 1):
                self.closed = self._depth == 0
                yield start, token.start()
                start = token.end()
                if self.closed:
                    break
        self.rest, self._scanned = held[start:], scanned - start

    def _check_length(self, size: int) -> None:
        if size > self._limit:
            fault = too_long(self._limit)
            raise InputError(
                f"{self._name}: record {self._elements + 1}: {fault.reason}", hint=fault.hint
            )


def _one_line(data: bytes) -> bytes:
    # Between tokens a line break means no more than a blank; inside a string it is an error.
    return data.strip().replace(b"\r", b" ").replace(b"\n", b" ")
