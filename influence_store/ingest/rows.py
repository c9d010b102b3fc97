"""What reading yields: a Row that became a sample, or a Rejected that says why it did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.schema.sample import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """One sample and where it came from.

    `line` counts from 1: the physical line of JSONL and CSV (where the record starts), the
    position of the record in a JSON array or Parquet file. `raw` is the source record: the bytes
    of the JSONL line without its line end, and one line of JSON for the other formats. `extra`
    holds the keys that no field of the sample was made from.
    """

    file: str
    line: int
    sample: Sample
    raw: bytes
    extra: Mapping[str, Any]

    @property
    def where(self) -> str:
        """`file:line`, as error messages name it."""
        return f"{self.file}:{self.line}"


class Rejected(ReadError):
    """A record that is not a sample; a value to be yielded, for the caller to raise or to count.

    `raw` never contains a line break, and is empty where the record was too long to be kept.
    """

    def __init__(self, file: str, line: int, reason: str, *, raw: bytes, hint: str = "") -> None:
        super().__init__(f"{file}:{line}", reason, hint=hint)
        self.file = file
        self.line = line
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Record:
    """A well-formed record, before anyone asked what its keys mean."""

    line: int
    raw: bytes
    value: dict[str, Any]


class Malformed(ValueError):
    """Why a record is wrong; `rejected` adds where it stands."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint

    def rejected(self, file: str, line: int, raw: bytes) -> Rejected:
        """The same fault as a value that names file and line."""
        return Rejected(file, line, self.reason, raw=raw, hint=self.hint)


def shown(text: str, limit: int = 40) -> str:
    """`text` for an error message: cut to `limit`, control characters escaped."""
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def found(value: Any) -> str:
    """What `value` is, in the words of JSON: `number 3`, `null`, `list of 2` …"""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"number {shown(str(value))}"
        case str():
            return f"text {shown(value)!r}" if value.strip() else "blank text"
        case list():
            return f"list of {len(value)}"
        case _:
            return f"object with {keys_of(value)}"


def keys_of(value: Mapping[str, Any]) -> str:
    """The keys of a record, for an error message."""
    names = [shown(key) or "''" for key in value]
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") if names else "no keys"
