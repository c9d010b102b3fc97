"""Where does a line end? At \\n only, and without ever holding more than the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line; `data` is None where it was longer than the limit.

    `ended` tells whether \\n followed: the last line of a file still being written has none.
    """

    number: int
    data: bytes | None
    ended: bool


def lines(chunks: Iterable[bytes], limit: int) -> Iterator[Line]:
    """Split into lines, numbered from 1, line ends removed; \\r stays.

    Other characters that some libraries take for line ends (U+2028, U+0085 …) are text.
    """
    number, size = 1, 0
    held: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            size += len(part)
            held.append(part)
            yield Line(number, b"".join(held) if size <= limit else None, ended=True)
            number, size = number + 1, 0
            held.clear()
        size += len(rest)
        held = [*held, rest] if size <= limit else []
    if size:
        yield Line(number, b"".join(held) if size <= limit else None, ended=False)
