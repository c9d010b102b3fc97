"""TRL's prompt/completion format: the loss falls on the completion only.

All rows of a file have one form. If every sample is a single exchange without system prompt and
tools, prompt and completion are texts. TRL joins the two as they are and counts on the prompt's
tokens to be a prefix of the whole (trl 1.16, `SFTTrainer._prepare_dataset`), so the blank between
them belongs to the completion: blanks at the end of a prompt move there, and where there is no
white space at all one blank is added. Otherwise both are message lists, which TRL renders with the
model's chat template; where any sample has tools, `tools` holds them as JSON text.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.exporters.bundle import ExportRow, bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from influence_store.schema.sample import Sample

    # system, tools, [[role, text], …]: all of a sample that this format can carry
    Conversation = tuple[str, str, list[tuple[str, str]]]

DATA = "train.jsonl"

_USAGE = """\
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

dataset = load_dataset("json", data_files="train.jsonl", split="train")
SFTTrainer("MODEL", args=SFTConfig(completion_only_loss=True), train_dataset=dataset).train()
"""


def export_trl(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` with prompt and completion as a bundle; returns `out`."""
    plain, tools = True, False
    with bundle(out, overwrite=overwrite) as folder:
        # The last row may decide the form of the first: hence two passes, over a copy on disk.
        with tempfile.TemporaryFile(dir=folder.folder) as copy:
            for row in rows:
                copy.write(_packed(row.sample) + b"\n")
                folder.origin(row)
                plain = plain and _is_plain(row.sample)
                tools = tools or bool(row.sample.tools)
            copy.seek(0)
            data = folder.file(DATA)
            for line in copy:
                conversation = orjson.loads(line)
                told = _texts(conversation) if plain else _messages(conversation, tools)
                data.write(orjson.dumps(told))
        folder.finish("trl", provenance, usage=_USAGE)
    return out


def _is_plain(sample: Sample) -> bool:
    """One question, one answer, nothing else."""
    return [turn.role for turn in sample.turns] == ["user", "assistant"] and not (
        sample.system or sample.tools
    )


def _packed(sample: Sample) -> bytes:
    turns = [(turn.role, turn.text) for turn in sample.turns]
    return orjson.dumps((sample.system, sample.tools, turns))


def _texts(conversation: Conversation) -> dict[str, Any]:
    (_, prompt), (_, response) = conversation[2]
    body = prompt.rstrip(" ")
    gap = prompt[len(body) :]
    if not gap and not body[-1:].isspace() and not response[:1].isspace():
        gap = " "
    return {"prompt": body, "completion": gap + response}


def _messages(conversation: Conversation, tools: bool) -> dict[str, Any]:
    system, declared, turns = conversation
    said = [("system", system)] if system else []
    messages = [{"role": role, "content": text} for role, text in [*said, *turns]]
    told: dict[str, Any] = {"prompt": messages[:-1], "completion": messages[-1:]}
    # A column must have one type in all rows; TRL parses the text, so "null" means no tools.
    return told | {"tools": declared or "null"} if tools else told
