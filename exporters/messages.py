"""What does a sample look like as a list of chat messages, its tool calls among them?

A sample keeps tool calls as text: the JSON list of an OpenAI message's `tool_calls`, on the last
line of the turn, or the whole text of a sharegpt `function_call` turn. Text is read as calls only
where the sample declares tools or the tool's answer follows: an answer that merely is JSON stays
an answer.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from influence_store.schema.sample import Sample


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; `arguments` is any JSON value, `id` empty where the source has none."""

    name: str
    arguments: Any
    id: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One turn: its role, its text without the calls, and the calls."""

    role: str
    text: str
    calls: tuple[Call, ...] = ()


def plain_messages(sample: Sample) -> list[dict[str, str]]:
    """Role and content of each message, the system prompt first; calls stay in the content."""
    system = [{"role": "system", "content": sample.system}] if sample.system else []
    return system + [{"role": turn.role, "content": turn.text} for turn in sample.turns]


def turns_with_calls(sample: Sample) -> list[Said]:
    """The turns, with the calls taken out of the assistant's texts."""
    told = []
    for k, turn in enumerate(sample.turns):
        answered = k + 1 < len(sample.turns) and sample.turns[k + 1].role == "tool"
        if turn.role == "assistant" and (answered or sample.tools):
            told.append(Said(turn.role, *_split(turn.text)))
        else:
            told.append(Said(turn.role, turn.text))
    return told


def openai_messages(sample: Sample) -> list[dict[str, Any]]:
    """Messages as OpenAI writes them: `tool_calls` with JSON text as arguments, `tool_call_id`.

    Calls and answers are paired in their order; missing ids are call_1, call_2, … An answer
    that belongs to no call has no `tool_call_id`.
    """
    messages: list[dict[str, Any]] = []
    if sample.system:
        messages.append({"role": "system", "content": sample.system})
    waiting: list[str] = []
    number = 0
    for said in turns_with_calls(sample):
        message: dict[str, Any] = {"role": said.role, "content": said.text}
        if said.role == "tool" and waiting:
            message["tool_call_id"] = waiting.pop(0)
        if said.role == "assistant":
            waiting = []
            for call in said.calls:
                number += 1
                waiting.append(call.id or f"call_{number}")
        if said.calls:
            message["tool_calls"] = [
                _openai_call(call, one) for call, one in zip(said.calls, waiting, strict=True)
            ]
        messages.append(message)
    return messages


def openai_tools(sample: Sample) -> list[Any]:
    """The declared tools as OpenAI writes them: each {"type": "function", "function": {…}}."""
    tools = orjson.loads(sample.tools) if sample.tools else []
    return [
        {"type": "function", "function": tool}
        if isinstance(tool, dict) and "type" not in tool
        else tool
        for tool in tools
    ]


def _openai_call(call: Call, identity: str) -> dict[str, Any]:
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {
        "id": identity,
        "type": "function",
        "function": {"name": call.name, "arguments": text},
    }


def _split(text: str) -> tuple[str, tuple[Call, ...]]:
    """The text before the calls, and the calls; all text where there are none."""
    before, _, last = text.rpartition("\n")
    for head, tail in (("", text), (before, last)):
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(tail)
            calls = [_call(one) for one in (value if isinstance(value, list) else [value])]
            if calls and None not in calls:
                return head, tuple(call for call in calls if call is not None)
    return text, ()


def _call(value: Any) -> Call | None:
    match value:
        case {"function": {"name": str(name), **call}, **whole}:
            identity = whole.get("id")
            return Call(
                name, call.get("arguments", {}), identity if isinstance(identity, str) else ""
            )
        case {"name": str(name), "arguments": arguments, **rest} if not rest:
            return Call(name, arguments)
    return None
