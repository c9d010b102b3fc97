"""TRL's two forms: prompt/completion, with the loss on the completion only, and whole messages.

All rows of a file have one form. If every sample is a single exchange without system prompt and
tools, prompt and completion are texts. TRL joins the two as they are and counts on the prompt's
tokens to be a prefix of the whole (trl 1.16, `SFTTrainer._prepare_dataset`), so the blank between
them belongs to the completion: blanks at the end of a prompt move there, and where there is no
white space at all one blank is added. Otherwise both are message lists, which TRL renders with the
model's chat template; where any sample has tools, `tools` holds them as JSON text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.exporters.bundle import ExportRow, bundle
from influence_store.exporters.messages import plain_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from influence_store.schema.sample import Sample

    # Messages and tools: all of a sample that this format can carry.
    Conversation = tuple[list[dict[str, str]], str]

DATA = "train.jsonl"
PASTE = "usage.py"

_USAGE = """\
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

dataset = load_dataset("json", data_files="train.jsonl", split="train")
SFTTrainer("MODEL", args=SFTConfig({option}), train_dataset=dataset).train()
"""


def export_trl(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` with prompt and completion as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        data, form = folder.file(DATA), _Form()
        for messages, declared in folder.again(rows, form.told):
            told = _texts(messages) if form.plain else _split(messages)
            data.write(orjson.dumps(told | _declared(declared, form.tools)))
        folder.finish("trl", provenance, _USAGE.format(option="completion_only_loss=True"), PASTE)
    return out


def export_trl_messages(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` with messages as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        data, form = folder.file(DATA), _Form()
        for messages, declared in folder.again(rows, form.told):
            data.write(orjson.dumps({"messages": messages} | _declared(declared, form.tools)))
        folder.finish("trl-messages", provenance, _USAGE.format(option=""), PASTE)
    return out


@dataclass
class _Form:
    """What is true of all rows, known once the last of them was told."""

    plain: bool = True
    tools: bool = False

    def told(self, row: ExportRow) -> Conversation:
        self.plain = self.plain and _is_plain(row.sample)
        self.tools = self.tools or bool(row.sample.tools)
        return plain_messages(row.sample), row.sample.tools


def _is_plain(sample: Sample) -> bool:
    """One question, one answer, nothing else."""
    return [turn.role for turn in sample.turns] == ["user", "assistant"] and not (
        sample.system or sample.tools
    )


def _texts(messages: list[dict[str, str]]) -> dict[str, Any]:
    prompt, response = (message["content"] for message in messages)
    body = prompt.rstrip(" ")
    gap = prompt[len(body) :]
    if not gap and not body[-1:].isspace() and not response[:1].isspace():
        gap = " "
    return {"prompt": body, "completion": gap + response}


def _split(messages: list[dict[str, str]]) -> dict[str, Any]:
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _declared(declared: str, tools: bool) -> dict[str, str]:
    # A column must have one type in all rows; TRL parses the text, so "null" means no tools.
    return {"tools": declared or "null"} if tools else {}
