"""How does a page reach the disk? Whole or not at all, and never over what is no report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.durable import replace_file
from influence_store.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

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
    try:
        replace_file(out, page)
    except OSError as error:
        raise StorageError(
            f"the report {out} cannot be written: {error.strerror or error}",
            hint="df -h; then run it again",
        ) from error
