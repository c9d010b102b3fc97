"""Files that are not what they seem: rows 14, 15, 28 and 40 of the bad-input table."""

from __future__ import annotations

import gzip
import io
import os
import random
import tracemalloc

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from influence_store.errors import InputError
from influence_store.ingest import Rejected, Row, read
from influence_store.ingest.lines import lines

GOOD = b'{"instruction": "say hi", "output": "hi"}\n'


class Endless:
    """A stream of one line: `size` bytes that nobody holds, then a good record."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._rest = io.BytesIO(b"\n" + GOOD)

    def read(self, size: int, /) -> bytes:
        piece = b'{"' + b"x" * 62
        size = min(size, self._left)
        self._left -= size
        return (piece * (size // 64 + 1))[:size] if size else self._rest.read(1 << 16)


def test_a_line_of_a_gigabyte_is_refused_in_little_memory_and_the_next_is_read():
    # Python's table of names may grow by megabytes at any first use: before the measuring.
    list(read(["-"], stdin=Endless(1 << 24), max_record_bytes=1 << 20))
    tracemalloc.start()
    bad, good = read(["-"], stdin=Endless(1 << 30), max_record_bytes=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(bad, Rejected)
    assert "record longer than 1,048,576 bytes" in str(bad)
    assert isinstance(good, Row)
    assert peak < 8 << 20


BOMBS = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(trial, kind):
    packed = BOMBS[kind](b'{"instruction": "' + b"a" * (100 << 20))
    path = trial.file(f"a.jsonl.{kind}", packed)
    trial.refused(3, "more than 250 times\n  if you trust", "ingest", path, "--dataset", "new")


@pytest.mark.parametrize("kind", BOMBS)
def test_half_an_archive_is_not_taken_for_the_whole(trial, kind):
    path = trial.file(f"a.jsonl.{kind}", BOMBS[kind](GOOD * 500)[:-9])
    trial.refused(3, "the archive ends too early", "ingest", path, "--dataset", "new")


def test_an_archive_of_paths_is_never_unpacked(trial):
    path = trial.file("a.zip", b"PK\x03\x04../../escaped")
    trial.refused(3, "unknown format\n  expected .jsonl", "ingest", path, "--dataset", "new")


def test_a_folder_a_pipe_a_device_and_nothing_are_no_files(trial):
    pipe = trial.folder / "pipe.jsonl"
    os.mkfifo(pipe)
    for path, told in (
        (trial.folder, "is a directory, expected a file\n  nothing in it can be read"),
        (pipe, "is a pipe or device, expected a file\n  to read a stream"),
        ("/dev/zero", "is a pipe or device"),
        (trial.folder / "pipe.json", "did you mean .*pipe.jsonl"),
        ("a\0b.jsonl", "no file named"),
    ):
        trial.refused(4, told, "ingest", path, "--dataset", "new")
        trial.refused(4, told, "ingest", "--removed", path, "--dataset", "pool")


def test_a_file_of_any_name_is_read_and_its_name_cannot_forge_a_line(trial):
    named = os.fsencode(trial.folder) + b"/\xff\x1b[31m\ninfluence-store: all is well.jsonl"
    path = os.fsdecode(named)
    with open(named, "wb") as file:
        file.write(b"{bad\n")
    said = trial.refused(
        3, r"\\udcff\\x1b\[31m\\ninfluence-store", "ingest", path, "--dataset", "d"
    )
    assert "\ninfluence-store: all" not in said.err
    with open(named, "wb") as file:
        file.write(GOOD)
    assert trial("ingest", path, "--dataset", "new").code == 0
    (row,) = trial("query", "--format", "json", "select file from new").json()
    assert row["file"].endswith(r"/\udcff\x1b[31m\ninfluence-store: all is well.jsonl")


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, form):
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        table = pa.table({"prompt": ["q"] * 2000, "completion": ["a"] * 2000})
        parquet.write_table(table, path)
    else:
        noise = random.Random(0).randbytes(300_000).hex().encode()
        content = (b'{"prompt": "%s", "completion": "a"}\n' % noise) * 3
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    rows = read([path])
    next(rows)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        list(rows)


class Dying:
    """A pipe whose other end breaks off with an error of the system."""

    def __init__(self) -> None:
        self.buffer = self
        self._whole = io.BytesIO(GOOD * 5000)

    def isatty(self) -> bool:
        return False

    def read(self, size: int, /) -> bytes:
        if piece := self._whole.read(min(size, 65_536)):
            return piece
        raise OSError(5, "Input/output error")


def test_a_reader_that_dies_midway_leaves_nothing(trial):
    told = "<stdin>: cannot be read: Input/output error"
    trial.refused(6, told, "ingest", "-", "--dataset", "new", stdin=Dying())


def test_lines_end_at_newlines_only():
    found = [line.data for line in lines([b"a\xe2\x80", b"\xa8b\xc2\x85c\x0bd\x0ce\r", b"\nf"], 99)]
    assert found == ["a\u2028b\u0085c\x0bd\x0ce\r".encode(), b"f"]
