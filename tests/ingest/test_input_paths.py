"""What cannot be read is refused at once, before the first row of any file."""

from __future__ import annotations

import gzip
import io
import os
import pty
import random
import re
import subprocess
import sys

import pytest
import zstandard

from influence_store.errors import Forbidden, InputError, NotFound, UsageError
from influence_store.ingest import Row, read

LINE = b'{"instruction": "say hi", "output": "hi"}\n'


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_bytes(LINE)
    return path


def refuse(error, match, *paths):
    with pytest.raises(error, match=match):
        read(paths)  # not even iterated


def test_a_missing_file_is_not_found_and_near_names_are_shown(good):
    refuse(NotFound, "did you mean .*good.jsonl", good, good.with_name("goood.jsonl"))


def test_a_directory_is_not_found_as_a_file(good):
    refuse(NotFound, "is a directory", good, good.parent)


def test_of_a_directory_a_pattern_for_every_kind_of_file_in_it_is_shown(good, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    refuse(NotFound, "nothing in it can be read; expected .jsonl", good, folder)
    for name in ("b.CSV", "a.jsonl.gz", "c.v2.parquet", "notes.txt", "csv", ".gz", "x.csv.zst"):
        (folder / name).write_bytes(b"")
    wanted = [f"{folder}/*{one}" for one in (".csv", ".csv.zst", ".jsonl.gz", ".parquet")]
    refuse(NotFound, f"try: {re.escape(' '.join(wanted))}$", good, folder)


def test_a_pipe_is_refused_without_waiting_for_its_writer(good):
    pipe = good.with_name("pipe.jsonl")
    os.mkfifo(pipe)
    refuse(NotFound, "pipe or device", good, pipe)


def test_a_device_is_refused(good):
    refuse(NotFound, "pipe or device", good, "/dev/zero")


def test_a_file_without_permission_is_forbidden(good):
    good.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        refuse(Forbidden, "permission", good)
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("content", [b"", b" \n\n\r\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz", "a"])
def test_a_file_without_content_has_0_records(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    refuse(InputError, "0 records", path)


def test_a_longer_blank_file_has_0_records_too(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b" \n" * 5000)
    with pytest.raises(InputError, match="0 records"):
        list(read([path]))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a"])
def test_utf16_is_refused_with_the_line_that_mends_it(tmp_path, name, encoding):
    path = tmp_path / name
    path.write_bytes(LINE.decode().encode(encoding))
    refuse(InputError, "iconv -f UTF-16", path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xlsx", b"PK\x03\x04..."),
        ("a.zip", b"PK\x03\x04../../etc/passwd"),
        ("a.txt", b"some words"),
        ("a.html", b"<html>"),
    ],
)
def test_an_unknown_format_lists_the_known_ones(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refuse(InputError, r"expected \.jsonl \.json \.csv or \.parquet", path)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.jsonl", b"[" + LINE + b"]", "JSON array"),
        ("a.parquet", LINE, "disagree"),
        ("a.jsonl", b"PAR1....", "disagree"),
        ("a.jsonl.gz", LINE, "the content is not gz"),
        ("a.jsonl", gzip.compress(LINE, mtime=0), "name it .*a.jsonl.gz"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_name_that_contradicts_the_content_is_refused(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content)
    refuse(InputError, match, path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL", "a.txt", "a"])
def test_lines_of_objects_are_read_under_any_fitting_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(LINE)
    assert [type(row) for row in read([path])] == [Row]


@pytest.mark.parametrize("content", [LINE, b"[" + LINE + b"]", gzip.compress(LINE, mtime=0)])
def test_standard_input_is_recognised_by_its_content(content):
    (row,) = read(["-"], stdin=io.BytesIO(content))
    assert row.where == "<stdin>:1"
    assert row.sample.response == "hi"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("wrap", [b"%s", b" \n[%s]", b"\xef\xbb\xbf[%s]"])
def test_a_packed_format_is_recognised_though_its_first_kilobyte_unpacks_to_nothing(
    tmp_path, pack, wrap
):
    noise = random.Random(0).randbytes(40_000).hex().encode()
    line = b'{"prompt": "q", "completion": "%s"}' % noise
    packed = pack(wrap % line)
    path = tmp_path / ("a.json.gz" if packed.startswith(b"\x1f") else "a.json.zst")
    path.write_bytes(packed)
    for rows in (read([path]), read(["-"], stdin=io.BytesIO(packed))):
        assert [row.sample.response for row in rows] == [noise.decode()]


def test_a_byte_order_mark_is_accepted_at_the_start_only(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINE + b"\xef\xbb\xbf" + LINE)
    first, second = read([path])
    assert first.raw == LINE[:-1]
    assert "column 1" in second.reason


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINE * 20_000)
    rows = read([path])
    next(rows)
    with path.open("ab") as file:
        file.write(LINE)
    with pytest.raises(InputError, match="changed while it was read"):
        list(rows)


def test_standard_input_is_the_processs_own_and_read_once(good):
    script = "from influence_store.ingest import read; print([row.where for row in read(['-'])])"
    with good.open("rb") as piped:
        done = subprocess.run(
            [sys.executable, "-c", script], stdin=piped, capture_output=True, text=True, check=True
        )
    assert done.stdout == "['<stdin>:1']\n"
    refuse(UsageError, "only once", "-", good, "-")


def test_a_terminal_is_not_waited_for():
    terminals = pty.openpty()
    script = "from influence_store.ingest import read; read(['-'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=terminals[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    for terminal in terminals:
        os.close(terminal)
    assert "InputError: nothing is piped" in done.stderr


def test_no_path_is_a_usage_error():
    refuse(UsageError, "no files")
