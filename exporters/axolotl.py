"""axolotl's chat_template form: messages as JSONL, and the YAML stanza that loads them.

All rows have the same keys and types, because the loader takes both from the first block of the
file. Only `tool_calls` would come and go between messages, so where any sample has some, the
messages of every row are JSON text, which axolotl (0.19, `chat_template.py`) decodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from influence_store.exporters.bundle import ExportRow, bundle
from influence_store.exporters.messages import openai_messages, openai_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DATA = "train.jsonl"

_USAGE = """\
# The lines about data of a training file, for a start in this folder.
chat_template: tokenizer_default
datasets:
  - path: train.jsonl
    ds_type: json
    type: chat_template
    field_messages: messages
    field_tools: tools
    message_property_mappings:
      role: role
      content: content
    roles_to_train: [assistant]
    train_on_eos: turn
"""


def export_axolotl(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` and `axolotl.yaml` as a bundle; returns `out`."""
    calls = False

    def told(row: ExportRow) -> tuple[list[dict[str, Any]], str]:
        nonlocal calls
        messages = openai_messages(row.sample)
        calls = calls or any("tool_calls" in message for message in messages)
        return messages, orjson.dumps(openai_tools(row.sample)).decode()

    with bundle(out, overwrite=overwrite) as folder:
        data = folder.file(DATA)
        for messages, tools in folder.again(rows, told):
            data.write(orjson.dumps({"messages": _form(messages, calls), "tools": tools}))
        folder.finish("axolotl", provenance, _USAGE, "axolotl.yaml")
    return out


def _form(messages: list[dict[str, Any]], calls: bool) -> str | list[dict[str, str]]:
    if calls:
        return orjson.dumps(messages).decode()
    return [{"role": one["role"], "content": one["content"]} for one in messages]
