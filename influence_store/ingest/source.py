"""May this path be read, and what is in it? Decided for all paths before the first row."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from influence_store.errors import Forbidden, InputError, NotFound, StorageError
from influence_store.ingest.compression import Compression, Readable, chunks
from influence_store.ingest.formats import BOM, KNOWN, Format, compression_of, ending_of, format_of
from influence_store.ingest.rows import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENOUGH = 64  # characters to tell a format by …
_LOOKED_FAR = 1 << 16  # … unless it begins with this much white space
_STDIN = "<stdin>"
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Source:
    """A readable file (or standard input, where `path` is None) of known format.

    `name` is for people: a file may be called anything, bytes that are no text among it.
    """

    name: str
    format: Format
    compression: Compression
    path: Path | None
    stream: Readable | None = None

    def content(self) -> Iterator[bytes]:
        """The decompressed bytes without a byte order mark.

        InputError if the file changes while it is read.
        """
        with self._raw() as raw, self._unchanged(raw):
            yield from _without_bom(chunks(raw, self.compression, self.name))

    @contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """The content as a file that can be read from anywhere; copied to disk where needed.

        InputError as of `content`.
        """
        if self.path is not None and self.compression == "none":
            with (
                _os_errors(self.name),
                self.path.open("rb") as file,
                self._unchanged(file),
            ):
                yield file
            return
        with _os_errors(self.name), tempfile.TemporaryFile() as copy:
            for piece in self.content():
                copy.write(piece)
            copy.seek(0)
            yield copy

    @contextmanager
    def _unchanged(self, raw: Readable) -> Iterator[None]:
        before = _stamp(raw)
        yield
        if _stamp(raw) != before:
            raise InputError(
                f"{self.name}: changed while it was read", hint="wait until it is complete"
            )

    @contextmanager
    def _raw(self) -> Iterator[Readable]:
        if self.path is None:
            assert self.stream is not None
            with _os_errors(self.name):
                yield self.stream
            return
        with _os_errors(self.name), self.path.open("rb") as file:
            yield file


def inspect(path: str | Path, stdin: Readable | None = None) -> Source:
    """Look at `path` (`-` is `stdin`, by default the process's own) without reading it all.

    NotFound, Forbidden or InputError if it cannot be read, is empty, or has no known format.
    """
    if str(path) == "-":
        stream = stdin or _standard_input()
        with _os_errors(_STDIN):
            kind, seen = _recognise(_STDIN, stream)
        return Source(_STDIN, *kind, path=None, stream=_Rejoined(seen, stream))
    path = Path(path)
    name = shown(str(path), _LONGEST_NAME)
    _check_regular(path, name)
    with _os_errors(name), path.open("rb") as file:
        kind, _ = _recognise(name, file)
    return Source(name, *kind, path=path)


def _standard_input() -> Readable:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing is piped into standard input", hint="… ingest - < FILE")
    return sys.stdin.buffer


def _recognise(name: str, stream: Readable) -> tuple[tuple[Format, Compression], bytes]:
    """What the stream holds, and the bytes that had to be read to know."""
    seen = _Recorded(stream)
    magic = seen.read(4)
    compression = compression_of(name, magic)
    content = b""
    for piece in chunks(_Rejoined(magic, seen), compression, name):
        content += piece
        if len(content.strip()) >= _ENOUGH or len(content) >= _LOOKED_FAR:
            break
    else:
        if not content.removeprefix(BOM).strip():
            raise InputError(f"{name}: 0 records", hint="the file is empty")
    return (format_of(name, content), compression), seen.data


def _check_regular(path: Path, name: str) -> None:
    with _os_errors(name):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):  # NUL is in no file's name
            siblings = path.parent.iterdir() if path.parent.is_dir() else ()
            names = (shown(str(one), _LONGEST_NAME) for one in siblings)
            raise NotFound.named("file", name, names) from None
    if stat.S_ISDIR(mode):
        raise NotFound(f"{name} is a directory, expected a file", hint=_files_in(path, name))
    if not stat.S_ISREG(mode):
        raise NotFound(
            f"{name} is a pipe or device, expected a file",
            hint=f"to read a stream: … ingest - < {name}",
        )


def _files_in(folder: Path, name: str) -> str:
    """What to type for the files of a folder: a pattern for each ending that can be read."""
    with _os_errors(name):
        endings = {ending_of(one.name) for one in folder.iterdir() if one.is_file()}
    patterns = sorted(f"{name}/*{ending}" for ending in endings if ending)
    return f"try: {' '.join(patterns)}" if patterns else f"nothing in it can be read; {KNOWN}"


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Forbidden(f"{name}: no permission to read it", hint=f"ls -l {name}") from error
    except OSError as error:
        raise StorageError(f"{name}: cannot be read: {error.strerror or error}") from error


def _stamp(raw: Readable) -> tuple[int, int] | None:
    if isinstance(raw, _Rejoined):
        return None
    facts = os.fstat(raw.fileno())  # type: ignore[attr-defined]
    return facts.st_size, facts.st_mtime_ns


def _without_bom(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= len(BOM):
            break
    if first := first.removeprefix(BOM):
        yield first
    yield from pieces


class _Rejoined:
    """A stream whose first bytes were already looked at."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._head:
            out, self._head = self._head[:size], self._head[size:]
            return out
        return self._rest.read(size)


class _Recorded:
    """A stream that remembers what was read from it."""

    def __init__(self, stream: Readable) -> None:
        self.data = b""
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        more = self._stream.read(size)
        self.data += more
        return more
