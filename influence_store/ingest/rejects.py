"""Where do rejected records go? To a file that can be mended and read again.

`NAME.jsonl` holds the records as they were, one per line, nothing added; beside it
`NAME.reasons.txt` says for each of them, in the same order, `file:line: reason`. CSV, Parquet and
array records are written as JSON objects; a CSV record that could not even be split into cells is
kept as `{"_csv": "its text"}`. Of a record too long to be held there is only the reason.
"""

from __future__ import annotations

import filecmp
import shlex
from itertools import count
from typing import TYPE_CHECKING

from influence_store.errors import Forbidden, StorageError, UsageError
from influence_store.ingest.rows import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from influence_store.ingest.rows import Rejected


def write_rejects(path: Path, rejected: Iterable[Rejected]) -> int:
    """Write both files and return how many records were rejected.

    The same rejects again change nothing. UsageError if something else has that name, such as
    records that somebody may be mending; Forbidden or StorageError if nothing can be written there.
    """
    try:
        return _write(path, rejected)
    except PermissionError as error:
        raise Forbidden(f"{path}: no permission to write it", hint="--rejects FILE") from error
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}", hint="--rejects FILE"
        ) from error


def _write(path: Path, rejected: Iterable[Rejected]) -> int:
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint=f"--rejects {path}/rejects.jsonl")
    reasons_path = path.with_name(f"{path.stem}.reasons.txt")
    parts = [_part(path), _part(reasons_path)]
    n_rejected = 0
    with parts[0].open("wb") as records, parts[1].open("wb") as reasons:
        for one in rejected:
            n_rejected += 1
            if one.raw:
                records.write(one.raw + b"\n")
            note = "" if one.raw else " (record not copied)"
            line = f"{one.where}: {shown(one.reason, 500)}{note}\n"
            reasons.write(line.encode(errors="backslashreplace"))
    _publish(parts[1], reasons_path, path)
    _publish(parts[0], path, path)
    return n_rejected


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _publish(part: Path, path: Path, records: Path) -> None:
    if path.exists() and not filecmp.cmp(part, path, shallow=False):
        part.unlink()
        free = next(one for k in count(2) if not (one := _numbered(records, k)).exists())
        raise UsageError(
            f"{path} exists and holds other records",
            hint=f"write these elsewhere: --rejects {shlex.quote(str(free))}",
        )
    part.replace(path)


def _numbered(path: Path, k: int) -> Path:
    return path.with_name(f"{path.stem}-{k}{path.suffix}")
