"""Every schema, one conversation: equal contents become equal samples."""

from __future__ import annotations

import pytest

from influence_store.ingest.canonical import to_sample
from influence_store.ingest.layouts import detect, from_mapping
from influence_store.ingest.rows import Malformed
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample, Turn


def sample(record, **options):
    return to_sample(record, detect(frozenset(record)), **options)


def reason(record):
    with pytest.raises(Malformed) as caught:
        sample(record)
    return caught.value.reason


def chat(*turns, key="messages", **more):
    names = ("from", "value") if key == "conversations" else ("role", "content")
    return {key: [dict(zip(names, turn, strict=True)) for turn in turns], **more}


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a", "history": [], "system": ""},
        {"instruction": "", "input": "q", "output": "a"},
        {"instruction": "q", "input": " \n", "output": "a"},
        {"instruction": "q", "input": None, "output": "a", "history": None, "tools": None},
        {"prompt": "q", "completion": "a"},
        {"prompt": "q", "response": "a"},
        {"question": "q", "answer": "a"},
        {"query": "q", "response": "a"},
        {"INSTRUCTION": "q", "RESPONSE": "a", "SOURCE": "x"},
        {"input": "q", "output": "a"},
        {"article": "q", "summary": "a"},
        {"instruction": "q", "context": "", "response": "a", "category": "open_qa"},
        {"system_prompt": "", "question": "q", "response": "a"},
        chat(("user", "q"), ("assistant", "a")),
        chat(("human", "q"), ("gpt", "a"), key="conversations", system=""),
        {
            "conversations": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
        chat(("user", [{"type": "text", "text": "q"}]), ("assistant", "a")),
        {
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
    ],
    ids=lambda record: "+".join(record),
)
def test_one_exchange_is_the_same_sample_in_every_schema(record):
    assert sample(record) == Sample.of("q", "a")


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": "q2", "output": "a2", "system": "s", "history": [["q1", "a1"]]},
        chat(("human", "q1"), ("gpt", "a1"), ("human", "q2"), ("gpt", "a2"), key="conversations")
        | {"system": "s"},
        chat(
            ("system", "s"),
            ("user", "q1"),
            ("assistant", "a1"),
            ("user", "q2"),
            ("assistant", "a2"),
        ),
    ],
    ids=["alpaca", "sharegpt", "openai"],
)
def test_earlier_turns_and_system_prompt_are_the_same_in_every_schema(record):
    wanted = Sample(
        (Turn("user", "q1"), Turn("assistant", "a1"), Turn("user", "q2"), Turn("assistant", "a2")),
        system="s",
    )
    assert sample_id(sample(record)) == sample_id(wanted)


def test_instruction_and_input_are_joined_by_a_blank_line_and_otherwise_untouched():
    got = sample({"instruction": " q \n", "input": "\tx ", "output": " a "})
    assert got == Sample.of(" q \n\n\n\tx ", " a ")


def test_a_tool_conversation_keeps_roles_calls_and_declarations():
    call = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    record = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": call},
            {"role": "tool", "content": "r1", "tool_call_id": "1"},
            {"role": "tool", "content": "r2"},
            {"role": "assistant", "content": "a"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    got = sample(record)
    assert [turn.role for turn in got.turns] == ["user", "assistant", "tool", "tool", "assistant"]
    assert got.turns[1].text == '[{"function":{"arguments":"{}","name":"f"},"id":"1"}]'
    assert got.tools == '[{"function":{"name":"f"},"type":"function"}]'
    said = dict(record["messages"][1], content="let me see")
    with_words = sample(dict(record, messages=[record["messages"][0], said]))
    assert with_words.response == "let me see\n" + got.turns[1].text


def test_tools_as_list_and_as_json_text_are_the_same():
    turns = (("human", "q"), ("gpt", "a"))
    as_list = sample(chat(*turns, key="conversations", tools=[{"b": 1, "a": 2}]))
    as_text = sample(chat(*turns, key="conversations", tools='[ {"a": 2, "b": 1} ]'))
    assert as_list == as_text
    assert sample(chat(*turns, key="conversations", tools="[]")).tools == ""


@pytest.mark.parametrize("tools", ["not json", '"text"', "3", "{}", 0, False, {}, {"name": "f"}])
def test_tools_that_are_no_list_are_refused_and_never_dropped(tools):
    text = reason(chat(("user", "q"), ("assistant", "a"), tools=tools))
    assert text.startswith("tools: found")


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        ([("user", "q")], "messages[0]: the conversation ends with user, expected assistant"),
        (
            [("user", "q"), ("assistant", "a"), ("user", "q")],
            "messages[2]: the conversation ends with user, expected assistant",
        ),
        ([("system", "s")], "messages[0]: the conversation ends with nothing, expected assistant"),
        ([("assistant", "a")], "messages[0]: found assistant after nothing, expected user"),
        (
            [("user", "q"), ("user", "q"), ("assistant", "a")],
            "messages[1]: found user after user, expected assistant",
        ),
        (
            [("user", "q"), ("tool", "r"), ("assistant", "a")],
            "messages[1]: found tool after user, expected assistant",
        ),
        (
            [("user", "q"), ("system", "s"), ("assistant", "a")],
            "messages[1]: found a system message, expected one at most, and first",
        ),
        (
            [("system", "s"), ("system", "t"), ("user", "q"), ("assistant", "a")],
            "messages[1]: found a system message, expected one at most, and first",
        ),
        ([("user", 3), ("assistant", "a")], "messages[0].content: found number 3, expected text"),
        ([("user", "q"), ("assistant", None)], "messages[1].content: found null, expected text"),
        (
            [("user", [{"type": "image_url"}]), ("assistant", "a")],
            "messages[0].content[0]: found object with type, expected a part of type text",
        ),
        ([("user", " "), ("assistant", "a")], "turn 1 (user) is blank, expected text"),
    ],
)
def test_a_broken_conversation_is_named_by_its_path(turns, wanted):
    assert reason(chat(*turns)) == wanted


def test_an_unknown_role_lists_the_known_ones():
    text = reason(chat(("critic", "x"), ("assistant", "a")))
    assert text.startswith("messages[0].role: found role 'critic', expected one of user, human,")


@pytest.mark.parametrize("messages", [[], "text", {"role": "user"}, 3])
def test_messages_must_be_a_list_that_is_not_empty(messages):
    assert "expected a list of messages" in reason({"messages": messages})


@pytest.mark.parametrize("message", [[], "hi", 3, None, {}, {"role": 3, "content": "x"}])
def test_a_message_that_is_none_is_named(message):
    assert reason({"messages": [message]}).startswith("messages[0]")


@pytest.mark.parametrize("history", ["q", 3, {"q": "a"}, ["q", "a"], [["q"]], [["q", 3]]])
def test_history_must_be_pairs_of_texts(history):
    text = reason({"instruction": "q", "output": "a", "history": history})
    assert text.startswith("history")
    assert "expected" in text


def test_prompt_and_completion_must_both_be_texts_or_both_lists():
    messages = [{"role": "user", "content": "q"}]
    assert "completion: found text 'a', expected a list" in reason(
        {"prompt": messages, "completion": "a"}
    )
    assert "completion: found list of 1, expected text" in reason(
        {"prompt": "q", "completion": messages}
    )


def test_two_different_system_prompts_are_refused():
    record = chat(("system", "be brief"), ("user", "q"), ("assistant", "a"), system="be long")
    assert "two system prompts" in reason(record)
    assert sample(record | {"system": "be brief"}).system == "be brief"


def test_an_exchange_without_a_question_is_refused():
    assert reason({"instruction": " ", "input": "", "output": "a"}).startswith("turn 1 (user)")


def test_a_mapped_key_that_is_missing_lists_what_was_found():
    layout = from_mapping({"instruction": "q", "output": "reply"})
    with pytest.raises(Malformed, match=r"no field 'reply' \(found q, answer\)"):
        to_sample({"q": "x", "answer": "y"}, layout)
