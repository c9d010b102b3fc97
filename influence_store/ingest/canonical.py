"""What conversation does a record hold? The one place where a record becomes a Sample.

Texts are kept as they are: nothing is stripped, cast or filled in. A field of the wrong type is
an error that names the path, what was found and what was expected.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.ingest.rows import Malformed, found, keys_of, shown
from influence_store.schema.sample import Role, Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.ingest.layouts import Layout

_ROLES: dict[str, Role | str] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "system": "system",
    "developer": "system",
}
# Which turn may come before which; a conversation begins with the user.
_BEFORE: dict[Role, tuple[Role | None, ...]] = {
    "user": (None, "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def to_sample(record: Mapping[str, Any], layout: Layout, *, allow_empty: bool = False) -> Sample:
    """The sample that `record` holds under `layout`, or Malformed.

    One exchange: the user turn is the instruction, followed after a blank line by the input where
    that is not blank; earlier exchanges come from history. A conversation: the messages, whose
    last one must be the assistant's. An assistant's tool calls are part of its text, as JSON.
    Blank responses are refused unless `allow_empty`.
    """
    for name, key in layout.required.items():
        if key not in record:
            raise Malformed(
                f"no field {shown(key)!r} (found {keys_of(record)})", hint=f"--map {name}=KEY"
            )
    system = _optional_text(record, layout.key("system"))
    chat = _messages_of(record, layout)
    if chat is None:
        turns = _exchange(record, layout)
    else:
        said, turns = _conversation(chat)
        if system.strip() and said.strip() and system != said:
            raise Malformed(
                f"two system prompts: the field {layout.key('system')} and the first message"
            )
        system = said or system
    _check_blank(turns, allow_empty)
    return Sample(turns, system=system, tools=_tools(record, layout.key("tools")))


def _messages_of(record: Mapping[str, Any], layout: Layout) -> list[tuple[str, Any]] | None:
    """(path, message) of all messages, or None if the record holds texts."""
    if "messages" in layout.required:
        return _list_at(record, layout.required["messages"])
    prompt, completion = layout.required["instruction"], layout.required["output"]
    if isinstance(record[prompt], list):
        return _list_at(record, prompt) + _list_at(record, completion)
    return None


def _list_at(record: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    value = record[key]
    if not isinstance(value, list) or not value:
        raise Malformed(f"{shown(key)}: found {found(value)}, expected a list of messages")
    return [(f"{shown(key)}[{k}]", message) for k, message in enumerate(value)]


def _exchange(record: Mapping[str, Any], layout: Layout) -> tuple[Turn, ...]:
    instruction = _text(record, layout.required["instruction"])
    context = _optional_text(record, layout.key("input"))
    turns = _history(record, layout.key("history"))
    asked = "\n\n".join(part for part in (instruction, context) if part.strip())
    response = _text(record, layout.required["output"])
    return (*turns, Turn("user", asked), Turn("assistant", response))


def _history(record: Mapping[str, Any], key: str | None) -> list[Turn]:
    value = record.get(key) if key else None
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise Malformed(f"{key}: found {found(value)}, expected a list of [question, answer]")
    turns = []
    for k, pair in enumerate(value):
        match pair:
            case [str(question), str(answer)]:
                turns += [Turn("user", question), Turn("assistant", answer)]
            case _:
                raise Malformed(f"{key}[{k}]: found {found(pair)}, expected [question, answer]")
    return turns


def _conversation(messages: list[tuple[str, Any]]) -> tuple[str, tuple[Turn, ...]]:
    """The system prompt and the turns."""
    system: list[str] = []
    turns: list[Turn] = []
    for path, message in messages:
        role, text = _message(path, message)
        if role == "system":
            if turns or system:
                raise Malformed(f"{path}: found a system message, expected one at most, and first")
            system.append(text)
            continue
        before = turns[-1].role if turns else None
        if before not in _BEFORE[role]:
            raise Malformed(
                f"{path}: found {role} after {before or 'nothing'}, expected "
                f"{' or '.join(r for r in _BEFORE if before in _BEFORE[r])}"
            )
        turns.append(Turn(role, text))
    if not turns or turns[-1].role != "assistant":
        last = turns[-1].role if turns else "nothing"
        raise Malformed(
            f"{messages[-1][0]}: the conversation ends with {last}, expected assistant",
            hint="drop the unanswered turn, or add the answer",
        )
    return "".join(system), tuple(turns)


def _message(path: str, message: Any) -> tuple[Any, str]:
    if not isinstance(message, dict):
        raise Malformed(f"{path}: found {found(message)}, expected an object with role and content")
    role_key, text_key = ("from", "value") if "from" in message else ("role", "content")
    name = message.get(role_key)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        what = f"role {shown(name)!r}" if isinstance(name, str) else f"{found(message)}"
        raise Malformed(f"{path}.{role_key}: found {what}, expected one of {', '.join(_ROLES)}")
    calls = message.get("tool_calls")
    content = message.get(text_key)
    if content is None and calls:
        return role, _dump(calls)
    text = _content(f"{path}.{text_key}", content)
    return role, f"{text}\n{_dump(calls)}" if calls and text else _dump(calls) if calls else text


def _content(path: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise Malformed(f"{path}: found {found(value)}, expected text")
    texts = []
    for k, part in enumerate(value):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:
                raise Malformed(f"{path}[{k}]: found {found(part)}, expected a part of type text")
    return "".join(texts)


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise Malformed(f"{shown(key)}: found {found(value)}, expected text")
    return value


def _optional_text(record: Mapping[str, Any], key: str | None) -> str:
    return "" if key is None or record.get(key) is None else _text(record, key)


def _tools(record: Mapping[str, Any], key: str | None) -> str:
    """Tool declarations as canonical JSON, whether they came as a list or as JSON text."""
    value = record.get(key) if key else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    tools = value
    if isinstance(value, str):
        with suppress(orjson.JSONDecodeError):
            tools = orjson.loads(value)
    if not isinstance(tools, list):
        raise Malformed(f"{key}: found {found(value)}, expected a list of tools or its JSON text")
    return _dump(tools) if tools else ""


def _dump(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _check_blank(turns: tuple[Turn, ...], allow_empty: bool) -> None:
    for k, turn in enumerate(turns):
        if turn.text.strip() or (allow_empty and turn.role == "assistant") or turn.role == "tool":
            continue
        if k == len(turns) - 1:
            raise Malformed(
                "the response is blank, expected text", hint="to keep such rows: --allow-empty"
            )
        raise Malformed(f"turn {k + 1} ({turn.role}) is blank, expected text")
