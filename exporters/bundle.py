"""How does an export reach the disk? Whole or not at all, with a manifest that leads back.

    OUT/manifest.json       exporter, provenance, and per file: sha256, bytes, rows
    OUT/provenance.jsonl    line k tells where row k of the data came from: rank, sample_id, file,
                            line, gain and other values (null where a value is NaN)
    OUT/left_out.jsonl      rows that the format cannot hold, and why; absent where it holds all
    OUT/…                   the data, and the stanza to paste, named in the manifest

Everything is written to OUT.part, flushed to the disk, and renamed. The same rows and provenance
give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from influence_store.durable import sync
from influence_store.errors import InputError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa

    from influence_store.schema.sample import Sample

MANIFEST = "manifest.json"
PROVENANCE = "provenance.jsonl"
LEFT_OUT = "left_out.jsonl"
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


class CannotHold(Exception):
    """A sample says something that the format has no place for; the message says what."""


class Bundle:
    """The folder while it is written."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._files: dict[str, DataFile | TableFile] = {}
        self._origin = self.file(PROVENANCE)
        self._left_out: DataFile | None = None
        self._why = ""

    def file(self, name: str) -> DataFile:
        """Open a data file of the bundle."""
        file = DataFile(self._stack.enter_context((self.folder / name).open("wb")))
        self._files[name] = file
        return file

    def table(self, name: str, schema: pa.Schema) -> TableFile:
        """Open a Parquet file of the bundle."""
        file = TableFile(self._stack, self.folder / name, schema)
        self._files[name] = file
        return file

    def origin(self, row: ExportRow) -> None:
        """Note where the row just written came from."""
        fact = _place(row) | {"gain": row.gain, "values": dict(row.values)}
        self._origin.write(orjson.dumps(fact, option=orjson.OPT_SERIALIZE_NUMPY))

    def lines(
        self, name: str, rows: Iterable[ExportRow], told: Callable[[ExportRow], bytes]
    ) -> None:
        """Write what `told` says of each row to a file; rows it cannot hold are left out."""
        data = self.file(name)
        for row in rows:
            try:
                line = told(row)
            except CannotHold as error:
                self._leave_out(row, str(error))
                continue
            data.write(line)
            self.origin(row)

    def again(self, rows: Iterable[ExportRow], told: Callable[[ExportRow], Any]) -> Iterator[Any]:
        """What `told` said of each row (JSON), once it has seen all of them.

        For formats in which the last row may decide the form of the first.
        """
        with tempfile.TemporaryFile(dir=self.folder) as copy:
            for row in rows:
                copy.write(orjson.dumps(told(row)) + b"\n")
                self.origin(row)
            copy.seek(0)
            yield from map(orjson.loads, copy)

    def finish(
        self,
        exporter: str,
        provenance: Mapping[str, Any],
        usage: str,
        usage_file: str = "usage.txt",
    ) -> None:
        """Write the stanza and the manifest and flush all files; InputError if no row is left."""
        if not self._origin.rows:
            if self._why:
                raise InputError(
                    f"no row fits the format {exporter}: {self._why}",
                    hint="another format may hold them; jsonl holds every row: --to jsonl",
                )
            raise InputError("nothing to export: the selection is empty")
        stanza = self.file(usage_file)
        for line in usage.splitlines():
            stanza.write(line.encode())
        files = {name: file.close() for name, file in sorted(self._files.items())}
        manifest = {
            "format": _FORMAT,
            "format_version": 1,
            "exporter": exporter,
            "rows": self._origin.rows,
            "left_out": self._left_out.rows if self._left_out else 0,
            "provenance": dict(provenance),
            "files": files,
            "usage": usage,
            "usage_file": usage_file,
        }
        option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        with (self.folder / MANIFEST).open("wb") as file:
            file.write(orjson.dumps(manifest, option=option))
            file.flush()
            os.fsync(file.fileno())

    def _leave_out(self, row: ExportRow, why: str) -> None:
        if self._left_out is None:
            self._left_out = self.file(LEFT_OUT)
            self._why = f"{row.file}:{row.line}: {why}"
        self._left_out.write(orjson.dumps(_place(row) | {"reason": why}))


def _place(row: ExportRow) -> dict[str, Any]:
    return {"rank": row.rank, "sample_id": row.sample_id, "file": row.file, "line": row.line}


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


class TableFile:
    """A Parquet file, one row group for each batch written."""

    def __init__(self, stack: ExitStack, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self._path = path
        self._schema = schema
        self._file = stack.enter_context(path.open("wb"))
        self._writer = stack.enter_context(pq.ParquetWriter(self._file, schema, compression="zstd"))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows, one mapping from column to value each."""
        import pyarrow as pa

        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=self._schema))
        self.rows += len(rows)

    def close(self) -> dict[str, Any]:
        """Write the footer and flush to the disk; the facts for the manifest."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sha256": digest, "bytes": size, "rows": self.rows}


@contextmanager
def bundle(out: Path, *, overwrite: bool = False) -> Iterator[Bundle]:
    """A folder that appears as `out` when the block ends well, and leaves nothing when it fails.

    UsageError if `out` is a file or holds something, unless `overwrite` is set and what it holds
    is an earlier export. StorageError if the disk fails.
    """
    out = Path(os.path.abspath(out))
    check_free(out, overwrite)
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


def check_free(out: Path, overwrite: bool) -> None:
    """UsageError if an export must not be written to `out`."""
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
    sync(part)
    old = out.with_name(out.name + ".old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    part.rename(out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)
