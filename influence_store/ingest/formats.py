"""Which format is it? The name declares, the first bytes confirm, a contradiction is an error."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

from influence_store.errors import InputError
from influence_store.ingest.compression import Compression, sniff_compression

Format = Literal["jsonl", "array", "csv", "parquet"]

_SUFFIX: dict[str, Format | Literal["json"]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED: dict[str, Compression] = {".gz": "gz", ".zst": "zst"}
_SAMPLE_ID = re.compile(rb"[0-9a-fA-F]{32}\s*(\n|$)")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"

KNOWN = "expected .jsonl .json .csv or .parquet, each also with .gz or .zst"


def ending_of(name: str) -> str | None:
    """The ending by which a file of that name is known to be readable, such as `.csv.gz`."""
    suffixes = [one.lower() for one in PurePath(name).suffixes]
    packed = suffixes[-1] if suffixes and suffixes[-1] in _PACKED else ""
    kind = next(reversed(suffixes[: -1 if packed else None]), "")
    return kind + packed if kind in _SUFFIX else None


def compression_of(name: str, head: bytes) -> Compression:
    """The compression of a file from its name and first bytes; InputError where they disagree."""
    declared = _PACKED.get(PurePath(name.lower()).suffix, "none")
    actual = sniff_compression(head)
    if declared == actual or (actual != "none" and not PurePath(name).suffix):
        return actual
    if actual == "none":
        raise InputError(f"{name}: named .{declared}, but the content is not {declared}")
    raise InputError(f"{name}: the content is {actual}", hint=f"name it {name}.{actual}")


def format_of(name: str, head: bytes) -> Format:
    """The format of decompressed content that begins with `head`; InputError says what to do."""
    _refuse_foreign(name, head)
    declared = _declared(name)
    first = head.removeprefix(BOM).lstrip()[:1]
    if head.startswith(b"PAR1") or declared == "parquet":
        if declared not in (None, "parquet") or not head.startswith(b"PAR1"):
            raise InputError(f"{name}: name and content disagree about being Parquet", hint=KNOWN)
        return "parquet"
    if declared == "jsonl" and first == b"[":
        raise InputError(
            f"{name}: found a JSON array, expected one object per line",
            hint="name it .json, or: jq -c '.[]' ARRAY > LINES.jsonl",
        )
    if declared in ("jsonl", "csv"):
        return declared
    if first == b"[":
        return "array"
    if first == b"{" or declared == "json" or _SAMPLE_ID.match(head.removeprefix(BOM)):
        return "jsonl"
    raise InputError(f"{name}: unknown format", hint=KNOWN)


def _refuse_foreign(name: str, head: bytes) -> None:
    if head.startswith(_UTF16) or b"\0" in head[:4]:
        raise InputError(
            f"{name}: the text is UTF-16 or binary, expected UTF-8",
            hint="re-encode as UTF-8: iconv -f UTF-16 -t UTF-8 OLD > NEW",
        )
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{name}: a Git LFS pointer, not the data", hint="git lfs pull")


def _declared(name: str) -> Format | Literal["json"] | None:
    path = PurePath(name.lower())
    inner = PurePath(path.stem) if path.suffix in _PACKED else path
    return _SUFFIX.get(inner.suffix)
