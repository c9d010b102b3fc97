"""OpenAI's fine-tuning JSONL: chat messages, tool calls with their answers, and the tools.

OpenAI refuses a file for one wrong row, so a tool answer that belongs to no call, or a call that
nobody answers before the talk goes on, leaves its row out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from influence_store.exporters.bundle import CannotHold, ExportRow, bundle
from influence_store.exporters.messages import openai_messages, openai_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DATA = "train.jsonl"

_USAGE = """\
from openai import OpenAI

client = OpenAI()
file = client.files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(training_file=file.id, model="MODEL")
"""


def export_openai(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` with `messages` and `tools` as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        folder.lines(DATA, rows, _told)
        folder.finish("openai", provenance, _USAGE, "usage.py")
    return out


def _told(row: ExportRow) -> bytes:
    messages = openai_messages(row.sample)
    _check_answers(messages)
    tools = openai_tools(row.sample)
    return orjson.dumps({"messages": messages} | ({"tools": tools} if tools else {}))


def _check_answers(messages: list[dict[str, Any]]) -> None:
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if "tool_call_id" not in message:
                raise CannotHold("a tool answers, but nothing called it")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise CannotHold(f"{len(open_calls)} tool calls have no answer")
        else:
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
