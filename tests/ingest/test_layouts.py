"""The schema of a record is found from its own keys, or refused with a line to type."""

from __future__ import annotations

import pytest

from influence_store.errors import UsageError
from influence_store.ingest.layouts import LAYOUTS, detect, from_mapping
from influence_store.ingest.rows import Malformed


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_is_found_by_its_required_keys_alone(layout):
    assert detect(frozenset(layout.required.values())).required == layout.required


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_is_found_with_all_its_keys_and_unknown_ones(layout):
    assert detect(layout.keys | {"id", "source", "category"}) == layout


@pytest.mark.parametrize(
    ("keys", "instruction", "output", "context"),
    [
        ("instruction input output", "instruction", "output", "input"),
        ("instruction output text", "instruction", "output", None),
        ("instruction context response category", "instruction", "response", "context"),
        ("instruction input response", "instruction", "response", "input"),
        ("question answer context", "question", "answer", "context"),
        ("input output", "input", "output", None),
        ("prompt prompt_id completion", "prompt", "completion", None),
    ],
)
def test_the_layout_that_explains_more_keys_wins(keys, instruction, output, context):
    layout = detect(frozenset(keys.split()))
    assert (layout.key("instruction"), layout.key("output")) == (instruction, output)
    assert not context or layout.key("input") == context


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (
            "conversations instruction output",
            ["--map messages=conversations", "--map instruction=instruction --map output=output"],
        ),
        (
            "question answer response",
            [
                "--map instruction=question --map output=answer",
                "--map instruction=question --map output=response",
            ],
        ),
        ("instruction output response", ["--map output=output", "--map output=response"]),
        ("instruction input context response", ["--map instruction=instruction"]),
    ],
)
def test_two_that_fit_are_refused_with_a_line_for_each(keys, lines):
    with pytest.raises(Malformed, match="several schemas fit") as caught:
        detect(frozenset(keys.split()))
    assert all(line in caught.value.hint for line in lines)


def test_keys_that_fit_nothing_are_listed_with_a_line_to_type():
    with pytest.raises(Malformed, match=r"no schema fits the keys \(found quesion, reply\)") as e:
        detect(frozenset(["quesion", "reply"]))
    assert e.value.hint == "name the fields: --map instruction=quesion --map output=KEY"


def test_text_alone_is_refused_with_the_reason():
    with pytest.raises(Malformed, match="only `text`, expected a prompt and a response"):
        detect(frozenset(["text"]))


def test_a_mapping_names_fields_and_leaves_the_others_their_own_names():
    layout = from_mapping({"output": "reply", "input": "ctx"})
    assert layout.required == {"instruction": "instruction", "output": "reply"}
    assert layout.key("input") == "ctx"
    assert layout.key("system") == "system"


def test_a_key_that_is_mapped_does_not_fill_the_field_of_its_own_name():
    layout = from_mapping({"instruction": "input", "output": "output"})
    assert layout.key("input") is None


def test_a_mapped_chat_has_no_instruction():
    assert from_mapping({"messages": "dialog"}).required == {"messages": "dialog"}
    with pytest.raises(UsageError, match="exclude each other"):
        from_mapping({"messages": "dialog", "output": "x"})


def test_an_unknown_field_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match="'outptu' is not a field") as caught:
        from_mapping({"outptu": "reply"})
    assert caught.value.hint == "--map output=reply"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("prompt=q_text", "instruction=q_text"),  # a view's name for it
        ("answer=a_text", "output=a_text"),
        ("question=instruction", "instruction=question"),  # the wrong way round
        ("a_text=response", "output=a_text"),
        ("outptu=response", "output=response"),
    ],
)
def test_an_unknown_field_is_answered_with_the_option_that_was_meant(typed, meant):
    name, _, key = typed.partition("=")
    with pytest.raises(UsageError) as caught:
        from_mapping({name: key})
    assert caught.value.hint == f"--map {meant}"


def test_a_mapping_that_uses_up_a_required_key_is_refused():
    with pytest.raises(UsageError, match="nothing is left for output"):
        from_mapping({"instruction": "output"})
