"""JSONL: exact bytes, named places, nothing lost in silence."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard

from influence_store.ingest import Rejected, Row, read
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample

GOOD = b'{"instruction": "say hi", "output": "hi"}'


def read_bytes(tmp_path, content: bytes, **options):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    return list(read([path], **options))


def test_raw_is_the_line_byte_for_byte(tmp_path):
    odd = b'  {"output":"h\\u0069" ,\t"instruction":"say hi", "n": 1.10}  '
    rows = read_bytes(tmp_path, odd + b"\r\n" + GOOD + b"\n")
    assert [row.raw for row in rows] == [odd, GOOD]
    assert rows[0].extra == {"n": 1.1}
    assert sample_id(rows[0].sample) == sample_id(rows[1].sample)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compression_changes_nothing(tmp_path, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack(GOOD + b"\n" + GOOD))
    assert [(row.line, row.raw) for row in read([path])] == [(1, GOOD), (2, GOOD)]


def test_blank_lines_count_as_lines_but_not_as_records(tmp_path):
    rows = read_bytes(tmp_path, b"\n\r\n" + GOOD + b"\r\n \t\n" + GOOD)
    assert [row.line for row in rows] == [3, 5]


def test_a_bad_line_is_a_value_between_good_rows(tmp_path):
    first, bad, last = read_bytes(tmp_path, GOOD + b"\n{oops}\n" + GOOD + b"\n")
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Rejected)
    assert bad.where == f"{tmp_path}/a.jsonl:2"
    assert str(bad).startswith(f"{tmp_path}/a.jsonl:2: column 2: not JSON")
    assert bad.raw == b"{oops}"


def test_a_torn_last_line_is_named_as_such(tmp_path):
    *_, torn = read_bytes(tmp_path, GOOD + b"\n" + GOOD[:20])
    assert "the file ends inside a record: still being written?" in torn.reason
    assert torn.line == 2


def test_a_last_line_without_line_end_is_a_record(tmp_path):
    assert [type(row) for row in read_bytes(tmp_path, GOOD)] == [Row]


def test_a_line_over_the_limit_is_rejected_and_the_next_one_read(tmp_path):
    long = json.dumps({"instruction": "x" * 5000, "output": "y"}).encode()
    bad, good = read_bytes(tmp_path, long + b"\n" + GOOD + b"\n", max_record_bytes=4096)
    assert "longer than 4,096 bytes" in bad.reason
    assert "--max-record-bytes" in bad.hint
    assert bad.raw == b""
    assert good.line == 2


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\u2029", "\x0b"])
def test_one_line_stays_one_record_whatever_unicode_says(tmp_path, separator):
    content = json.dumps({"instruction": f"a{separator}b", "output": "c"}, ensure_ascii=False)
    if separator == "\x0b":  # a control character must be escaped in JSON
        content = json.dumps({"instruction": f"a{separator}b", "output": "c"})
    (row,) = read_bytes(tmp_path, content.encode())
    assert row.sample == Sample.of(f"a{separator}b", "c")


def test_types_are_judged_row_by_row_and_never_cast(tmp_path):
    lines = [{"instruction": "a", "output": output} for output in ("1", 1, 1.5, True, None, ["1"])]
    rows = read_bytes(tmp_path, b"\n".join(json.dumps(line).encode() for line in lines))
    assert isinstance(rows[0], Row)
    found = [row.reason for row in rows[1:]]
    assert found == [
        f"output: found {what}, expected text"
        for what in ("number 1", "number 1.5", "true", "null", "list of 1")
    ]


def test_a_key_that_first_appears_in_row_300_is_kept(tmp_path):
    lines = [{"instruction": f"q{k}", "output": "a"} for k in range(400)]
    lines[300]["difficulty"] = 3
    rows = read_bytes(tmp_path, b"\n".join(json.dumps(line).encode() for line in lines))
    assert [row.line for row in rows if row.extra] == [301]
    assert rows[300].extra == {"difficulty": 3}


def test_a_file_may_mix_schemas(tmp_path):
    lines = [
        {"prompt": "p", "completion": "c"},
        {"question": "p", "answer": "c"},
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}]},
    ]
    rows = read_bytes(tmp_path, b"\n".join(json.dumps(line).encode() for line in lines))
    assert {sample_id(row.sample) for row in rows} == {sample_id(Sample.of("p", "c"))}


def test_files_are_read_in_the_order_given(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.jsonl").write_bytes(GOOD)
    rows = list(read([tmp_path / "b.jsonl", tmp_path / "a.jsonl"]))
    assert [row.file for row in rows] == [f"{tmp_path}/b.jsonl", f"{tmp_path}/a.jsonl"]


@pytest.mark.parametrize("output", ["", " \n\t", "\u00a0"])
def test_a_blank_response_is_rejected_unless_allowed(tmp_path, output):
    line = json.dumps({"instruction": "a", "output": output}).encode()
    (bad,) = read_bytes(tmp_path, line)
    assert "the response is blank" in bad.reason
    assert "--allow-empty" in bad.hint
    (row,) = read_bytes(tmp_path, line, allow_empty=True)
    assert row.sample.response == output
