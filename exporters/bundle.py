"""How does an export reach the disk? Whole or not at all, with a manifest that leads back.

    OUT/manifest.json       exporter, provenance, and per file: sha256, bytes, rows
    OUT/provenance.jsonl    line k tells where row k of the data came from: rank, sample_id, file,
                            line, gain and other values (null where a value is NaN)
    OUT/…                   the data

Everything is written to OUT.part, flushed to the disk, and renamed. The same rows and provenance
give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from influence_store.errors import InputError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.schema.sample import Sample

MANIFEST = "manifest.json"
PROVENANCE = "provenance.jsonl"
_FORMAT = "influence-store/export"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One selected sample: what it says (`sample`, `raw`), where it stood, and why it is here.

    `sample_id` is hex, `rank` its place in the selection, `gain` its marginal gain, `values`
    further columns by name.
    """

    rank: int
    sample_id: str
    sample: Sample
    raw: bytes
    file: str
    line: int
    gain: float
    values: Mapping[str, Any] = field(default_factory=dict)


class Bundle:
    """The folder while it is written."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._files: dict[str, DataFile] = {}
        self._origin = self.file(PROVENANCE)

    def file(self, name: str) -> DataFile:
        """Open a data file of the bundle."""
        self._files[name] = DataFile(self._stack.enter_context((self.folder / name).open("wb")))
        return self._files[name]

    def origin(self, row: ExportRow) -> None:
        """Note where the row just written came from."""
        fact = {
            "rank": row.rank,
            "sample_id": row.sample_id,
            "file": row.file,
            "line": row.line,
            "gain": row.gain,
            "values": dict(row.values),
        }
        self._origin.write(orjson.dumps(fact, option=orjson.OPT_SERIALIZE_NUMPY))

    def finish(self, exporter: str, provenance: Mapping[str, Any], usage: str) -> None:
        """Flush all files and write the manifest."""
        if not self._origin.rows:
            raise InputError("nothing to export: the selection is empty")
        files = {name: file.close() for name, file in sorted(self._files.items())}
        manifest = {
            "format": _FORMAT,
            "format_version": 1,
            "exporter": exporter,
            "rows": self._origin.rows,
            "provenance": dict(provenance),
            "files": files,
            "usage": usage,
        }
        option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        with (self.folder / MANIFEST).open("wb") as file:
            file.write(orjson.dumps(manifest, option=option))
            file.flush()
            os.fsync(file.fileno())


class DataFile:
    """A file of lines that knows its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.rows = 0
        self._file = file
        self._bytes = 0
        self._sha256 = hashlib.sha256()

    def write(self, line: bytes) -> None:
        """Append one line; ValueError if it is not one."""
        if b"\n" in line:
            raise ValueError(f"a row must be one line, found a line break in {line[:60]!r}")
        whole = line + b"\n"
        self._file.write(whole)
        self._sha256.update(whole)
        self._bytes += len(whole)
        self.rows += 1

    def close(self) -> dict[str, Any]:
        """Flush to the disk; the facts for the manifest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"sha256": self._sha256.hexdigest(), "bytes": self._bytes, "rows": self.rows}


@contextmanager
def bundle(out: Path, *, overwrite: bool = False) -> Iterator[Bundle]:
    """A folder that appears as `out` when the block ends well, and leaves nothing when it fails.

    UsageError if `out` is a file or holds something, unless `overwrite` is set and what it holds
    is an earlier export. StorageError if the disk fails.
    """
    out = Path(os.path.abspath(out))
    _check_free(out, overwrite)
    part = out.with_name(out.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        with ExitStack() as stack:
            yield Bundle(part, stack)
        _publish(part, out)
    except OSError as error:
        raise StorageError(
            f"export to {out} failed: {error.strerror or error}", hint="df -h; then run it again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file, expected a new or empty folder")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{out} is not empty", hint="choose another folder, or: --overwrite")
    if not _is_export(out):
        raise UsageError(
            f"{out} holds something that is not an export; it is not overwritten",
            hint="choose another folder",
        )


def _is_export(out: Path) -> bool:
    try:
        manifest = orjson.loads((out / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == _FORMAT


def _publish(part: Path, out: Path) -> None:
    """Put `part` in the place of `out`; a crash in between leaves the old one as OUT.old."""
    _sync(part)
    old = out.with_name(out.name + ".old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    part.rename(out)
    _sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
