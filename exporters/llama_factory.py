"""LLaMA-Factory's sharegpt form, with the `dataset_info.json` that it looks for.

LLaMA-Factory (0.9.5, `data/converter.py`) wants human or observation at odd places and gpt or
function_call at even ones; of a row that breaks this it keeps nothing and says so only in its log.
Answers of several tools in a row are therefore joined, with the text by which its own OpenAI
converter joins them, and what still breaks the rule is left out here, by file and line. Its
parser sets every column and tag that `dataset_info.json` does not name to nothing, so all of them
are named.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.exporters.bundle import CannotHold, ExportRow, bundle
from influence_store.exporters.messages import Call, Said, turns_with_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DATA = "train.jsonl"
INFO = "dataset_info.json"
NAME = "influence_store"

_BETWEEN_ANSWERS = "\n</tool_response>\n<tool_response>\n"
_INFO = {
    NAME: {
        "file_name": DATA,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    }
}
_USAGE = f"""\
# The lines about data of a training file, for a start in this folder.
dataset_dir: .
dataset: {NAME}
# mask_history: true   # the loss on the last answer only
"""


def export_llama_factory(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` and `dataset_info.json` as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        folder.lines(DATA, rows, _told)
        folder.file(INFO).write(orjson.dumps(_INFO))
        folder.finish("llama-factory", provenance, _USAGE, "llama-factory.yaml")
    return out


def _told(row: ExportRow) -> bytes:
    conversation: list[dict[str, str]] = []
    for role, group in groupby(turns_with_calls(row.sample), key=lambda said: said.role):
        turns = list(group)
        if role == "tool":
            answers = _BETWEEN_ANSWERS.join(turn.text for turn in turns)
            conversation.append({"from": "observation", "value": answers})
        else:
            conversation += [_message(turn) for turn in turns]
    for k, message in enumerate(conversation):
        if (message["from"] in ("human", "observation")) != (k % 2 == 0):
            raise CannotHold(f"turn {k + 1} is {message['from']}: questions and answers alternate")
    return orjson.dumps(
        {"conversations": conversation, "system": row.sample.system, "tools": row.sample.tools}
    )


def _message(said: Said) -> dict[str, str]:
    if said.role == "user":
        return {"from": "human", "value": said.text}
    if not said.calls:
        return {"from": "gpt", "value": said.text}
    if said.text.strip():
        raise CannotHold("an answer has text beside its tool calls; function_call has no place")
    calls = [{"name": call.name, "arguments": _arguments(call)} for call in said.calls]
    return {"from": "function_call", "value": orjson.dumps(calls).decode()}


def _arguments(call: Call) -> Any:
    """LLaMA-Factory makes JSON of them itself, so JSON text would be quoted twice."""
    if isinstance(call.arguments, str):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(call.arguments)
    return call.arguments
