"""What goes out as JSONL comes in again: same bytes, same samples."""

from __future__ import annotations

import json

import pytest

from influence_store.exporters import EXPORTERS
from influence_store.exporters.bundle import ExportRow
from influence_store.exporters.jsonl import export_jsonl
from influence_store.ingest import read
from influence_store.schema.identity import sample_id

LINES = [
    b'{"instruction": "caf\\u00e9?", "output":"oui",  "n": 1.10}',
    '{"conversations": [{"from": "human", "value": "é\u2028"}, '.encode()
    + b'{"from": "gpt", "value": "a"}]}',
    b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},'
    b'{"role":"assistant","content":"a","weight":1}],"id":7}',
]


def selected(path):
    for rank, row in enumerate(read([path])):
        identity = sample_id(row.sample).hex()
        yield ExportRow(rank, identity, row.sample, row.raw, row.file, row.line, 0.5)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.jsonl"
    path.write_bytes(b"\r\n\n".join(LINES))
    return path


def test_jsonl_is_the_source_records_byte_for_byte(tmp_path, source):
    out = export_jsonl(selected(source), tmp_path / "out", {})
    assert (out / "train.jsonl").read_bytes() == b"\n".join(LINES) + b"\n"


@pytest.mark.parametrize(
    "form", ["jsonl", "trl", "trl-messages", "llama-factory", "axolotl", "openai"]
)
def test_an_export_read_again_gives_the_same_sample_ids(tmp_path, source, form):
    out = EXPORTERS.get(form)(selected(source), tmp_path / "out", {})
    origins = [json.loads(line) for line in (out / "provenance.jsonl").read_bytes().splitlines()]
    again = [sample_id(row.sample).hex() for row in read([out / "train.jsonl"])]
    assert again == [origin["sample_id"] for origin in origins]
    assert [origin["line"] for origin in origins] == [1, 3, 5]


def test_a_record_with_a_line_break_is_refused(tmp_path, source):
    row = next(selected(source))
    broken = ExportRow(0, row.sample_id, row.sample, b'{"a":\n1}', row.file, row.line, 1.0)
    with pytest.raises(ValueError, match="line break"):
        export_jsonl([broken], tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
