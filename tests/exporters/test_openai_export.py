"""One wrong row and OpenAI refuses the file: every call has its answer, every answer its call."""

from __future__ import annotations

import json

import pytest
from export_samples import (
    ALL,
    PLAIN,
    TEXT_AND_CALLS,
    TEXTS,
    TOOLS,
    TWO_CALLS,
    exported,
    json_rows,
)

from influence_store.exporters.messages import plain_messages
from influence_store.schema.sample import Sample, Turn

NO_CALL = Sample(
    (Turn("user", "q"), Turn("assistant", "hm"), Turn("tool", "t"), Turn("assistant", "a"))
)
NO_ANSWER = Sample((*TWO_CALLS.turns[:3], TWO_CALLS.turns[4]), tools=TOOLS)


def test_texts_are_the_samples_own(tmp_path):
    rows = json_rows(exported(tmp_path / "out", "openai", TEXTS))
    assert rows == [{"messages": plain_messages(sample)} for sample in TEXTS]


def test_tools_are_a_list_where_there_are_some(tmp_path):
    rows = json_rows(exported(tmp_path / "out", "openai", ALL))
    assert [len(row.get("tools", ())) for row in rows] == [0, 0, 0, 0, 1, 1]
    assert all(tool["type"] == "function" for row in rows for tool in row.get("tools", ()))
    assert rows[-1]["tools"] == json.loads(TOOLS)


def test_an_answer_may_have_text_and_calls(tmp_path):
    (row,) = json_rows(exported(tmp_path / "out", "openai", [TEXT_AND_CALLS]))
    assert row["messages"][1]["content"] == "Let me look."
    assert [call["id"] for call in row["messages"][1]["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("sample", "why"), [(NO_CALL, "nothing called it"), (NO_ANSWER, "1 tool calls have no answer")]
)
def test_a_row_with_a_broken_call_is_left_out(tmp_path, sample, why):
    out = exported(tmp_path / "out", "openai", [PLAIN, sample])
    (left,) = json_rows(out, "left_out.jsonl")
    assert (left["line"], left["reason"].endswith(why)) == (12, True)
    assert len(json_rows(out)) == 1


def test_a_conversation_may_end_with_calls(tmp_path):
    sample = Sample(TWO_CALLS.turns[:2], tools=TOOLS)
    (row,) = json_rows(exported(tmp_path / "out", "openai", [sample]))
    assert len(row["messages"][-1]["tool_calls"]) == 2
