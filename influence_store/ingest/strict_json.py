"""Does this text mean one JSON object, and the same one to every reader?

The usual parsers forgive what later breaks somewhere else: a repeated key (some keep the first
value, some the last), NaN, numbers beyond 64 bits, lone surrogates that no UTF-8 text can hold,
NUL that PostgreSQL refuses, nesting that overflows the stack. Here each of them is an error.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import TYPE_CHECKING, Any

from influence_store.ingest.rows import Malformed, found, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64

_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_INT64_DIGITS = 19


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object, or raise Malformed with the place and the rule it breaks."""
    text = decode(data)
    _check_depth(data)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _syntax(error) from None
    if not isinstance(value, dict):
        raise Malformed(
            f"found {found(value)}, expected one object per record",
            hint="a JSON array of records belongs in a file named .json",
        )
    if _SUSPECT_ESCAPE.search(data):
        for path, part in _strings(value, ""):
            _check_text(path, part)
    return value


def dump_object(value: dict[str, Any]) -> bytes:
    """One line of JSON in the order of the keys; dates and times as ISO 8601 text.

    ValueError (NaN, infinity) or TypeError (bytes, decimals) if JSON has no form for a value.
    """
    return _ENCODER.encode(value).encode()


def decode(data: bytes) -> str:
    """Strict UTF-8, or Malformed with the byte and its offset."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(
            f"byte 0x{data[error.start]:02x} at offset {error.start} of the record is not UTF-8",
            hint="if the file is Latin-1: iconv -f LATIN1 -t UTF-8 OLD > NEW",
        ) from None


def _check_depth(data: bytes) -> None:
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:  # cannot be deeper than it has brackets
        return
    depth = 0
    for token in _BRACKET.finditer(data):
        first = data[token.start()]
        depth += (first in b"{[") - (first in b"}]")
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH} levels")


def _syntax(error: json.JSONDecodeError) -> Malformed:
    if error.msg == "Extra data":
        return Malformed(
            f"column {error.pos + 1}: something follows the object, expected one per line"
        )
    return Malformed(f"column {error.pos + 1}: not JSON: {error.msg}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the key {shown(twice)!r} appears twice in one object")
    return made


def _integer(digits: str) -> int:
    if len(digits) <= _INT64_DIGITS + 1:
        value = int(digits)
        if -(2**63) <= value < 2**63:
            return value
    raise Malformed(
        f"number {shown(digits, 24)} does not fit 64 bits", hint="write it as text, in quotes"
    )


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise Malformed(f"number {shown(digits, 24)} is beyond the range of a float")
    return value


def _constant(name: str) -> float:
    raise Malformed(f"{name} is not JSON", hint="write null where there is no number")


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            inner = f"{path}.{shown(key)}" if path else shown(key)
            yield inner, key
            yield from _strings(part, inner)
    elif isinstance(value, list):
        for k, part in enumerate(value):
            yield from _strings(part, f"{path}[{k}]")


def _check_text(path: str, text: str) -> None:
    if "\0" in text:
        raise Malformed(f"{path}: contains NUL (\\u0000), which databases cannot store")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise Malformed(
            f"{path}: lone surrogate \\u{code:04x} at character {error.start}: half a character"
        ) from None


def _as_text(value: Any) -> str:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"found {type(value).__name__}")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_text
)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
