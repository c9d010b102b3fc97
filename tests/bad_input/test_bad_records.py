"""Records that are not samples: rows 1 to 27 of the bad-input table."""

from __future__ import annotations

import json

import pytest

GOOD = b'{"instruction": "say hi", "output": "hi"}\n'
TO_SKIP = r"\n  mend them, or leave them out: --on-error skip"


def one(fields: bytes) -> bytes:
    return b'{"instruction": "q", ' + fields + b', "output": "a"}\n'


REFUSED = {
    "1 malformed": (GOOD + b'{"a" 1}\n', r"a\.jsonl:2: column 6: not JSON"),
    "2 torn": (GOOD + GOOD[:30], r"a\.jsonl:2: the file ends inside a record: still being written"),
    "3 two objects": (GOOD[:-1] + GOOD, r":1: column 42: something follows the object"),
    "3 trailing garbage": (GOOD[:-1] + b"]\n", r":1: column 42: something follows the object"),
    "4 an array": (b"[" + GOOD + b"]", r"a\.jsonl: found a JSON array.*\n  name it \.json"),
    "4 an array, later": (GOOD + b"[1]\n", r":2: found list of 1, expected one object per record"),
    "4 a scalar": (GOOD + b"3\n", r":2: found number 3, expected one object per record"),
    "5 BOM inside": (GOOD + b"\xef\xbb\xbf" + GOOD, r":2: column 1: not JSON"),
    "6 UTF-16": (GOOD.decode().encode("utf-16"), r"expected UTF-8\n  re-encode as UTF-8: iconv"),
    "7 Latin-1": (
        one(b'"x": "caf\xe9"'),
        r":1: byte 0xe9 at offset 30 of the record is not UTF-8\n  if the file is Latin-1",
    ),
    "8 lone surrogate": (one(rb'"x": "\ud800"'), r":1: x: lone surrogate \\ud800 at character 0"),
    "9 NUL": (one(rb'"x": "a\u0000"'), r":1: x: contains NUL"),
    "9 raw NUL": (one(b'"x": "a\0"'), r":1: column 29: not JSON: Invalid control character"),
    "10 duplicate keys": (one(b'"x": 1, "x": 1'), r":1: the key 'x' appears twice"),
    "11 NaN": (one(b'"x": NaN'), r":1: NaN is not JSON\n  write null"),
    "11 1e999": (one(b'"x": 1e999'), r":1: number 1e999 is beyond the range of a float"),
    "12 beyond int64": (one(b'"x": %d' % 2**63), r":1: number 9223372036854775808 does not fit"),
    "12 5,000 digits": (one(b'"x": ' + b"9" * 5000), r":1: number 9{24}… does not fit 64 bits"),
    "13 deep": (one(b'"x": ' + b"[" * 100_000 + b"]" * 100_000), r":1: nested deeper than 64"),
    "14 long line": (one(b'"x": "' + b"x" * (8 << 20) + b'"'), r":1: record longer than 8,388,608"),
    "17 empty": (b"", r"a\.jsonl: 0 records\n  the file is empty"),
    "17 blank": (b"\n \r\n\t\n", r"a\.jsonl: 0 records\n  the file is empty"),
    "18 mixed types": (
        GOOD + b'{"instruction": 1, "output": "a"}\n',
        r":2: instruction: found number 1, expected text",
    ),
    "20 missing field": (GOOD + b'{"instruction": "x"}\n', r":2: no schema fits .*\n.*--map"),
    "20 unknown keys": (GOOD + b'{"a": "x", "b": "y"}\n', r":2: no schema .*found a, b.*\n.*--map"),
    "21 blank output": (GOOD + b'{"instruction": "x", "output": " "}\n', r":2: the response is bl"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_a_bad_record_stops_everything_before_the_store_is_touched(trial, row):
    content, message = REFUSED[row]
    said = trial.refused(3, message, "ingest", trial.file("a.jsonl", content), "--dataset", "new")
    if "records cannot be read" in said.err:
        assert TO_SKIP.lstrip(r"\n") in said.err.replace("\n", "")


def test_twenty_are_shown_and_the_others_counted(trial):
    path = trial.file("a.jsonl", b"{bad\n" * 31)
    said = trial.refused(3, "31 of the records cannot be read", "ingest", path, "--dataset", "new")
    assert said.err.count("a.jsonl:") == 20
    assert "… and 11 more" in said.err


def test_skipped_records_are_counted_and_kept_aside_and_the_others_are_read(trial):
    path = trial.file("a.jsonl", GOOD + b'{bad\n{"instruction": "", "output": "x"}\n')
    rejects = trial.folder / "rejects.jsonl"
    said = trial(
        *("ingest", path, "--dataset", "new", "--on-error", "skip", "--rejects", rejects, "--json")
    )
    assert (said.code, said.json()["rows"], said.json()["rejected"]) == (0, 1, 2)
    assert rejects.read_bytes().splitlines()[0] == b"{bad"
    assert "a.jsonl:2: column 2" in (trial.folder / "rejects.reasons.txt").read_text()


@pytest.mark.parametrize("place", ["missing/folder.jsonl", ""])
def test_rejects_that_cannot_be_written_stop_everything(trial, place):
    path = trial.file("a.jsonl", GOOD + b"{bad\n")
    skip = ("--on-error", "skip", "--rejects", trial.folder / place)
    code, told = (6, "cannot be written") if place else (2, "is a directory")
    trial.refused(code, told, "ingest", path, "--dataset", "new", *skip)


ACCEPTED = {
    "5 BOM at the start": (b"\xef\xbb\xbf" + GOOD, 1),
    "16 U+2028, U+0085": (one('"x": "a\u2028b\u0085c"'.encode()), 1),
    "17 CRLF and blank lines": (b"\r\n" + GOOD[:-1] + b"\r\n\n \n", 1),
    "19 a new key after row 200": (
        b"".join(one(b'"n%d": %d' % (k > 200, k)).replace(b"q", b"q%d" % k) for k in range(250)),
        250,
    ),
    "20 extra fields": (one(b'"meta": {"difficulty": 3}'), 1),
    "23 same content twice": (GOOD + b'{"id": 2, "instruction": "say hi", "output": "hi"}\n', 1),
    "24 same foreign id, other content": (one(b'"id": 7') + one(b'"id": 7').replace(b"q", b"r"), 2),
    "26 same text in NFC and NFD": (
        one(b'"x": 1').replace(b"q", "\u00e9".encode())
        + one(b'"x": 1').replace(b"q", "e\u0301".encode()),
        1,
    ),
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_what_is_only_unusual_is_read_whole_and_counted(trial, row):
    content, rows = ACCEPTED[row]
    path = trial.file("a.jsonl", content)
    told = trial("ingest", path, "--dataset", "new", "--json").json()
    assert (told["rows"], told["rejected"]) == (rows, 0)
    lines = sum(bool(line.strip()) for line in content.split(b"\n"))
    assert told["duplicates"] == lines - rows


def test_a_key_that_appears_late_is_kept(trial):
    content, _ = ACCEPTED["19 a new key after row 200"]
    trial("ingest", trial.file("a.jsonl", content), "--dataset", "new")
    asked = "select extra from new where line > 201"
    kept = trial("query", "--format", "json", asked).json()
    assert len(kept) == 49
    assert all("n1" in json.loads(row["extra"]) for row in kept)


def test_a_text_known_under_another_id_is_no_new_content(trial):
    content = b'{"id": "mine", "prompt": "Say red and red (0)", "completion": "red red"}\n'
    told = trial("ingest", trial.file("a.jsonl", content), "--dataset", "new", "--json").json()
    assert (told["rows"], told["new_contents"]) == (1, 0)


def test_a_sample_of_a_million_tokens_is_stored_whole(trial):
    text = "word " * 1_000_000
    path = trial.file("a.jsonl", json.dumps({"instruction": "q", "output": text}) + "\n")
    assert trial("ingest", path, "--dataset", "new").code == 0
    (row,) = trial("query", "--format", "json", "select response_chars as n from new").json()
    assert row["n"] == len(text)
