from __future__ import annotations

import json

import pytest

from influence_store.errors import UsageError
from influence_store.ingest import Rejected, Row, read, read_removed, write_rejects

GOOD = b'{"prompt": "q", "completion": "a"}'
BAD = [b'{"prompt": "q"}', b"{torn", b'{"prompt": "q", "completion": 3}']
ID = "0123456789abcdef0123456789ABCDEF"


@pytest.fixture
def rejected(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([BAD[0], GOOD, BAD[1], BAD[2], GOOD]) + b"\n")
    return [row for row in read([path]) if isinstance(row, Rejected)]


def test_rejects_hold_the_records_verbatim_and_reasons_beside_them(tmp_path, rejected):
    out = tmp_path / "rejects.jsonl"
    assert write_rejects(out, rejected) == 3
    assert out.read_bytes() == b"\n".join(BAD) + b"\n"
    reasons = (tmp_path / "rejects.reasons.txt").read_text().splitlines()
    assert [line.split(": ")[0] for line in reasons] == [row.where for row in rejected]
    assert reasons[2].endswith("completion: found number 3, expected text")


def test_mended_rejects_can_be_read_again(tmp_path, rejected):
    out = tmp_path / "rejects.jsonl"
    write_rejects(out, rejected)
    out.write_bytes(out.read_bytes().replace(b"3}", b'"3"}'))
    assert [type(row) for row in read([out])] == [Rejected, Rejected, Row]


def test_the_same_rejects_again_change_nothing_but_others_are_refused(tmp_path, rejected):
    out = tmp_path / "rejects.jsonl"
    write_rejects(out, rejected)
    write_rejects(out, rejected)
    out.write_bytes(b"half mended")
    with pytest.raises(UsageError, match="holds other records") as caught:
        write_rejects(out, rejected)
    assert out.read_bytes() == b"half mended"
    # One option is enough for both files, and what it names is free.
    assert caught.value.hint.endswith(f"--rejects {tmp_path}/rejects-2.jsonl")
    assert not list(tmp_path.glob("*.part"))


def test_a_record_too_long_to_keep_leaves_its_reason(tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_bytes(b'{"prompt": "%s"}\n' % (b"x" * 200))
    write_rejects(tmp_path / "r.jsonl", list(read([path], max_record_bytes=100)))
    assert (tmp_path / "r.jsonl").read_bytes() == b""
    assert "(record not copied)" in (tmp_path / "r.reasons.txt").read_text()


def test_escape_sequences_in_the_data_do_not_reach_the_reasons(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"\x1b[31mred\nline": 1}))
    (from_data,) = read([path])
    assert "\x1b" not in str(from_data)
    from_elsewhere = Rejected("b.jsonl", 1, "found \x1b[31mred\nline", raw=b"{}")
    write_rejects(tmp_path / "r.jsonl", [from_data, from_elsewhere])
    text = (tmp_path / "r.reasons.txt").read_text()
    assert "\x1b" not in text
    assert text.count("\n") == 2


def test_removed_takes_ids_objects_and_records_in_any_mix(tmp_path):
    path = tmp_path / "removed.txt"
    lines = [ID.encode(), b'{"sample_id": "%s"}' % ID.encode(), GOOD, b"\t0" * 3, b"12ab"]
    path.write_bytes(b"\r\n".join(lines))
    first, second, third, fourth, fifth = read_removed(path)
    assert first == second == bytes.fromhex(ID)
    assert isinstance(third, Row)
    assert isinstance(fourth, Rejected)
    assert isinstance(fifth, Rejected)


def test_an_id_of_digits_only_is_an_id_and_not_a_number(tmp_path):
    path = tmp_path / "ids"
    path.write_text("1" * 32 + "\n" + "12345678e" + "1" * 23 + "\n")
    assert [len(one) for one in read_removed(path)] == [16, 16]


def test_a_sample_id_of_the_wrong_length_is_rejected(tmp_path):
    path = tmp_path / "ids.jsonl"
    path.write_text('{"sample_id": "abc"}\n{"sample_id": 3}')
    assert all("expected 32 hex digits" in row.reason for row in read_removed(path))


def test_removed_may_be_a_table_of_ids(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text(f"rank,sample_id\n1,{ID}\n")
    assert list(read_removed(path)) == [bytes.fromhex(ID)]
