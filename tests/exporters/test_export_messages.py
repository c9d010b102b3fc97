"""Tool calls are found where they are, and nowhere else."""

from __future__ import annotations

import json

import pytest
from export_samples import CALLS, MULTI, ONE_CALL, SYSTEM, TEXT_AND_CALLS, TOOLS, TWO_CALLS

from influence_store.exporters.messages import (
    Call,
    openai_messages,
    openai_tools,
    plain_messages,
    turns_with_calls,
)
from influence_store.ingest import read
from influence_store.schema.sample import Sample, Turn


def test_the_system_prompt_is_the_first_message_and_an_empty_one_is_none():
    assert plain_messages(SYSTEM)[0] == {"role": "system", "content": SYSTEM.system}
    assert [one["role"] for one in plain_messages(MULTI)] == ["user", "assistant"] * 2


def test_openai_calls_are_read_with_name_arguments_and_id():
    calls = turns_with_calls(TWO_CALLS)[1].calls
    assert calls == (
        Call("weather", '{"town": "Köln"}', "c1"),
        Call("weather", '{"town": "Ulm"}', "c2"),
    )


def test_text_before_the_calls_stays_text():
    said = turns_with_calls(TEXT_AND_CALLS)[1]
    assert said.text == "Let me look."
    assert [call.id for call in said.calls] == ["c1", "c2"]


def test_a_function_call_of_sharegpt_is_one_call_without_id():
    said = turns_with_calls(ONE_CALL)[1]
    assert (said.text, said.calls) == ("", (Call("weather", {"town": "Bonn"}),))


@pytest.mark.parametrize(
    "answer",
    ["4", "[]", "{}", "null", '{"name": "Ada"}', '[{"name": "f", "arguments": 1}, 2]', "{broken",
     '{"name": "Ada", "arguments": [], "age": 36}', '[{"function": "sin"}]'],
)  # fmt: skip
def test_json_that_is_no_call_stays_an_answer(answer):
    sample = Sample.of("q", answer)
    sample = Sample(sample.turns, tools=TOOLS)
    assert turns_with_calls(sample)[1].text == answer
    assert turns_with_calls(sample)[1].calls == ()


def test_json_like_a_call_stays_an_answer_where_there_are_no_tools():
    sample = Sample.of("Write a call.", CALLS)
    assert turns_with_calls(sample)[1].calls == ()
    assert openai_messages(sample)[1] == {"role": "assistant", "content": CALLS}


def test_answers_are_paired_with_calls_in_their_order():
    told = [message.get("tool_call_id") for message in openai_messages(TWO_CALLS)]
    assert told == [None, None, None, "c1", "c2", None]
    assert [call["id"] for call in openai_messages(ONE_CALL)[1]["tool_calls"]] == ["call_1"]


def test_arguments_are_json_text():
    for sample in (ONE_CALL, TWO_CALLS):
        for message in openai_messages(sample):
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_flat_tools_are_wrapped_and_others_kept():
    assert openai_tools(TWO_CALLS) == json.loads(TOOLS)
    (tool,) = openai_tools(ONE_CALL)
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "weather"
    assert openai_tools(MULTI) == []


def test_messages_of_openai_come_back_as_they_went_in(tmp_path):
    record = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c9",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"town": "Ulm"}'},
                    }
                ],
            },
            {"role": "tool", "content": "sun", "tool_call_id": "c9"},
            {"role": "assistant", "content": "Sun."},
        ],
        "tools": json.loads(TOOLS),
    }
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (row,) = read([path])
    assert openai_messages(row.sample) == record["messages"]
    assert openai_tools(row.sample) == record["tools"]


def test_an_answer_without_a_call_has_no_id():
    sample = Sample(
        (Turn("user", "q"), Turn("assistant", "hm"), Turn("tool", "t"), Turn("assistant", "a"))
    )
    assert "tool_call_id" not in openai_messages(sample)[2]
