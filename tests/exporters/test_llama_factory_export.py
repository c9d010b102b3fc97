"""LLaMA-Factory drops rows in silence; what we write it must not drop, and we say what we drop."""

from __future__ import annotations

import json

import pytest
from export_samples import (
    ALL,
    MULTI,
    ONE_CALL,
    PLAIN,
    SYSTEM,
    TEXT_AND_CALLS,
    TEXTS,
    TOOLS,
    TWO_CALLS,
    exported,
    json_rows,
    manifest_of,
)

from influence_store.errors import InputError
from influence_store.schema.sample import Sample, Turn

TWO_QUESTIONS = Sample((Turn("user", "q1"), Turn("user", "q2"), PLAIN.turns[1]))


def test_texts_are_the_samples_own(tmp_path):
    rows = json_rows(exported(tmp_path / "out", "llama-factory", TEXTS))
    names = {"user": "human", "assistant": "gpt"}
    for row, sample in zip(rows, TEXTS, strict=True):
        assert row["conversations"] == [
            {"from": names[turn.role], "value": turn.text} for turn in sample.turns
        ]
        assert row["system"] == sample.system
        assert row["tools"] == ""


def test_calls_answers_and_tools_have_their_own_tags(tmp_path):
    first, second = json_rows(exported(tmp_path / "out", "llama-factory", [ONE_CALL, TWO_CALLS]))
    for row in (first, second):
        tags = [message["from"] for message in row["conversations"]]
        assert tags == ["human", "function_call", "observation", "gpt"]
    assert json.loads(first["conversations"][1]["value"]) == [
        {"name": "weather", "arguments": {"town": "Bonn"}}
    ]
    assert json.loads(second["conversations"][1]["value"])[0]["arguments"] == {"town": "Köln"}
    assert second["conversations"][2]["value"].split("\n</tool_response>\n<tool_response>\n") == [
        "rain",
        "sun",
    ]
    assert json.loads(second["tools"]) == json.loads(TOOLS)


def test_every_row_has_the_same_columns_of_text(tmp_path):
    for row in json_rows(exported(tmp_path / "out", "llama-factory", ALL)):
        assert list(row) == ["conversations", "system", "tools"]
        assert {type(row["system"]), type(row["tools"])} == {str}
        assert all(list(message) == ["from", "value"] for message in row["conversations"])


@pytest.mark.parametrize(
    ("sample", "why"),
    [(TWO_QUESTIONS, "turn 2 is human"), (TEXT_AND_CALLS, "text beside its tool calls")],
)
def test_a_row_that_would_be_dropped_is_left_out_by_file_and_line(tmp_path, sample, why):
    out = exported(tmp_path / "out", "llama-factory", [PLAIN, sample, MULTI])
    (left,) = json_rows(out, "left_out.jsonl")
    assert (left["file"], left["line"], left["rank"]) == ("chats.jsonl", 12, 2)
    assert why in left["reason"]
    assert len(json_rows(out)) == 2
    assert [row["rank"] for row in json_rows(out, "provenance.jsonl")] == [1, 3]
    manifest = manifest_of(out)
    assert (manifest["rows"], manifest["left_out"]) == (2, 1)
    assert manifest["files"]["left_out.jsonl"]["rows"] == 1


def test_where_nothing_is_left_out_there_is_no_such_file(tmp_path):
    out = exported(tmp_path / "out", "llama-factory", ALL)
    assert not (out / "left_out.jsonl").exists()
    assert manifest_of(out)["left_out"] == 0


def test_an_export_of_no_fitting_row_is_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"no row fits .*llama-factory: chats.jsonl:11: turn 2"):
        exported(tmp_path / "out", "llama-factory", [TWO_QUESTIONS])
    assert list(tmp_path.iterdir()) == []


def test_the_stanza_names_the_data_set_of_dataset_info(tmp_path):
    out = exported(tmp_path / "out", "llama-factory", [SYSTEM])
    (name,) = json.loads((out / "dataset_info.json").read_text())
    assert f"dataset: {name}\n" in (out / "llama-factory.yaml").read_text()
