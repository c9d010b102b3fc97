"""`selection.lock`: all that decides a selection, and its samples, in one file that can be checked.

    data       per role (pool, target, given): dataset@version, rows, digest of the sample ids
    kernel     the producer's name, fingerprint and facts
    function   objective and its parameters
    question   what was asked: budget, quotas, seed, optimizer …
    allowed    how many samples were barred and why; which tokenizer counted
    samples    ids in the order picked, gains beside them
    made_with  versions of the tool and of the libraries that compute
    digest     SHA-256 of the rest as sorted JSON without spaces

Nothing in it depends on where a store keeps its rows: it can be checked against another store
that holds the same data. JSON with sorted keys: the same selection gives the same bytes.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import InputError
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LOCK = "selection.lock"
FORMAT, FORMAT_VERSION = "influence-store/selection.lock", 1
#: Compared in this order, since each decides what follows.
DECISIVE = ("data", "kernel", "function", "question", "allowed", "samples", "gains")
_LIBRARIES = ("numpy", "numba", "scipy", "onnxruntime-gpu", "onnxruntime", "pylance")
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` as a receipt: with its format, the versions at work and its digest."""
    whole = {
        **content,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "made_with": made_with(),
    }
    return {**whole, "digest": digest(whole)}


def digest(receipt: Mapping[str, Any]) -> str:
    """64 hex digits over everything but the digest itself."""
    rest = {name: value for name, value in receipt.items() if name != "digest"}
    return hashlib.sha256(orjson.dumps(rest, option=_SORTED)).hexdigest()


def ids_digest(ids: Sequence[bytes]) -> str:
    """64 hex digits over sample ids, whatever their order."""
    return hashlib.sha256(b"".join(sorted(ids))).hexdigest()


def made_with() -> dict[str, str]:
    """Versions of the tool and of what it computes with."""
    return {
        "influence-store": __version__,
        "python": platform.python_version(),
        **dict(_installed()),
    }


def to_bytes(receipt: Mapping[str, Any]) -> bytes:
    """The file: indented JSON, keys sorted."""
    return orjson.dumps(receipt, option=_SORTED | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def from_file(path: Path) -> dict[str, Any]:
    """The receipt in a file; InputError if it is none, or of another format."""
    try:
        receipt = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as a receipt: {error}") from error
    if not isinstance(receipt, dict) or receipt.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a receipt of a selection",
            hint="make one: influence-store receipt SELECTION -o selection.lock",
        )
    if receipt.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {receipt.get('format_version')}; "
            f"this tool reads {FORMAT_VERSION}",
            hint="check it with the tool that made it",
        )
    if lacking := [
        name for name in (*DECISIVE, "digest", "selection", "made_with") if name not in receipt
    ]:
        raise InputError(f"{path} lacks {', '.join(lacking)}")
    return receipt


def first_difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Where two receipts differ first, in words; None if all that is decisive is equal.

    Samples and their gains are compared pick by pick, so that the first wrong rank is named.
    """
    for name in DECISIVE[:-2]:
        for path, one, other in _unequal(expected[name], found[name], name):
            return f"{path}: expected {_short(one)}, found {_short(other)}"
    return _first_wrong_pick(_picks(expected), _picks(found))


def _picks(receipt: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """InputError if there are not as many gains as samples."""
    samples, gains = receipt["samples"], receipt["gains"]
    if len(samples) != len(gains):
        raise InputError(f"the receipt has {len(samples)} samples and {len(gains)} gains")
    return list(zip(samples, gains, strict=True))


def _first_wrong_pick(
    expected: list[tuple[str, float | None]], found: list[tuple[str, float | None]]
) -> str | None:
    for rank, (one, other) in enumerate(zip(expected, found, strict=False), start=1):
        if one[0] != other[0]:
            return f"rank {rank}: expected sample {one[0]}, found {other[0]}"
        if one[1] != other[1]:
            return f"rank {rank}, sample {one[0]}: expected gain {one[1]}, found {other[1]}"
    if len(expected) != len(found):
        return f"expected {len(expected)} samples, found {len(found)}"
    return None


def _unequal(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost values that differ, by sorted path; a missing one is None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _unequal(one.get(name), other.get(name), f"{path}.{name}")
    elif one != other:
        yield path, one, other


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _installed() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, installed(name)
        except PackageNotFoundError:
            continue
