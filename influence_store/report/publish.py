"""How does a page reach the disk? Whole or not at all, and never over what is no report."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from influence_store.errors import StorageError, UsageError

#: The first bytes of every report, by which one is known.
MARK = b"<!doctype html>\n<!-- influence-store report 1 -->\n"


def check_free(out: Path, *, overwrite: bool) -> None:
    """UsageError if something is at `out` that is not a report, unless `overwrite` is set.

    A folder is never overwritten.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder, expected a file", hint=f"-o {out / 'report.html'}")
    if not out.exists() or overwrite:
        return
    try:
        with out.open("rb") as file:
            found = file.read(len(MARK))
    except OSError as error:
        raise StorageError(f"{out} cannot be read: {error.strerror or error}") from error
    if found != MARK:
        raise UsageError(
            f"{out} holds something that is not a report; it is not overwritten",
            hint="choose another file, or: --overwrite",
        )


def publish(page: bytes, out: Path) -> None:
    """Put `page` at `out` in one step; StorageError if the disk fails, and then nothing changed."""
    part: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent)
        part = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(page)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        part.replace(out)
        _sync(out.parent)
    except OSError as error:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        raise StorageError(
            f"the report {out} cannot be written: {error.strerror or error}",
            hint="df -h; then run it again",
        ) from error


def _umask() -> int:
    """The rights that new files do not get; it can only be read by setting it."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
