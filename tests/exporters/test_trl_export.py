"""TRL joins prompt and completion as they stand: the seam must be right, and all rows alike."""

from __future__ import annotations

import json

import pytest

from influence_store.exporters.bundle import ExportRow
from influence_store.exporters.trl import export_trl
from influence_store.schema.sample import Sample, Turn

PLAIN = Sample.of("q", "a")
MULTI = Sample((Turn("user", "q1"), Turn("assistant", "a1"), Turn("user", "q2"), PLAIN.turns[1]))
TOOLS = Sample(PLAIN.turns, tools='[{"name":"f"}]')


def exported(tmp_path, *samples):
    rows = [ExportRow(k, f"{k:032x}", one, b"{}", "f", k, 0.0) for k, one in enumerate(samples)]
    out = export_trl(rows, tmp_path / "out", {})
    return [json.loads(line) for line in (out / "train.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("prompt", "response", "wanted"),
    [
        ("The sky is", "blue.", ("The sky is", " blue.")),
        ("The sky is", " blue.", ("The sky is", " blue.")),
        ("The sky is", "\nblue.", ("The sky is", "\nblue.")),
        ("Answer: ", "42", ("Answer:", " 42")),
        ("Answer:\n", "42", ("Answer:\n", "42")),
        ("Answer:\n  ", "42", ("Answer:\n", "  42")),
    ],
)
def test_the_blank_between_prompt_and_completion_belongs_to_the_completion(
    tmp_path, prompt, response, wanted
):
    (row,) = exported(tmp_path, Sample.of(prompt, response))
    assert (row["prompt"], row["completion"]) == wanted


def test_single_exchanges_are_texts(tmp_path):
    assert exported(tmp_path, PLAIN, PLAIN) == [{"prompt": "q", "completion": " a"}] * 2


@pytest.mark.parametrize("other", [MULTI, Sample.of("q", "a", system="s"), TOOLS])
@pytest.mark.parametrize("position", [0, 1])
def test_one_conversation_makes_all_rows_conversations(tmp_path, other, position):
    samples = [other, PLAIN] if position == 0 else [PLAIN, other]
    rows = exported(tmp_path, *samples)
    assert len({tuple(row) for row in rows}) == 1  # the same columns
    assert {type(row[key]) for row in rows for key in ("prompt", "completion")} == {list}
    plain = rows[1 - position]
    assert plain["prompt"] == [{"role": "user", "content": "q"}]
    assert plain["completion"] == [{"role": "assistant", "content": "a"}]


def test_a_conversation_keeps_order_and_system_prompt(tmp_path):
    (row,) = exported(tmp_path, Sample(MULTI.turns, system="s"))
    said = [(message["role"], message["content"]) for message in row["prompt"]]
    assert said == [("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2")]
    assert row["completion"] == [{"role": "assistant", "content": "a"}]
    assert "tools" not in row


def test_tools_are_json_text_in_every_row_where_any_row_has_them(tmp_path):
    first, second = exported(tmp_path, PLAIN, TOOLS)
    assert json.loads(first["tools"]) is None
    assert json.loads(second["tools"]) == [{"name": "f"}]


def test_the_manifest_brings_the_lines_to_paste(tmp_path):
    exported(tmp_path, PLAIN)
    usage = json.loads((tmp_path / "out" / "manifest.json").read_text())["usage"]
    compile(usage, "usage", "exec")
    assert 'data_files="train.jsonl"' in usage
