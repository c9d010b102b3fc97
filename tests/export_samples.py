"""Samples that stretch an export, and one call that writes them in any format."""

from __future__ import annotations

import json

from influence_store.exporters import EXPORTERS
from influence_store.exporters.bundle import ExportRow
from influence_store.exporters.messages import plain_messages
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample, Turn

TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "tells the weather",
                "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
            },
        }
    ]
)
CALLS = json.dumps(
    [
        {"function": {"arguments": '{"town": "Köln"}', "name": "weather"}, "id": "c1"},
        {"function": {"arguments": '{"town": "Ulm"}', "name": "weather"}, "id": "c2"},
    ]
)
PLAIN = Sample.of("What is 2 + 2?", "4")
UNICODE = Sample.of("Quoi\u2028de «neuf» ? \U0001f98a\n", '"Rien", dit-il.\t\\n\x00')
SYSTEM = Sample.of("q", "a", system="Be brief: yes\n---\nkey: [1, 2]")
MULTI = Sample(
    (Turn("user", "q1"), Turn("assistant", "a1"), Turn("user", "q2"), Turn("assistant", "a2"))
)
TEXTS = [PLAIN, UNICODE, SYSTEM, MULTI]
ONE_CALL = Sample(
    (
        Turn("user", "Weather?"),
        Turn("assistant", '{"name": "weather", "arguments": {"town": "Bonn"}}'),
        Turn("tool", "rain"),
        Turn("assistant", "It rains."),
    ),
    tools='[{"name":"weather","description":"w","parameters":{"type":"object","properties":{}}}]',
)
TWO_CALLS = Sample(
    (
        Turn("user", "Weather?"),
        Turn("assistant", CALLS),
        Turn("tool", "rain"),
        Turn("tool", "sun"),
        Turn("assistant", "Rain and sun."),
    ),
    system="s",
    tools=TOOLS,
)
TEXT_AND_CALLS = Sample(
    (
        Turn("user", "Weather?"),
        Turn("assistant", "Let me look.\n" + CALLS),
        Turn("tool", "rain"),
        Turn("tool", "sun"),
        Turn("assistant", "Rain and sun."),
    ),
    tools=TOOLS,
)
ALL = [*TEXTS, ONE_CALL, TWO_CALLS]


def rows_for(samples):
    return [
        ExportRow(
            rank=k,
            sample_id=sample_id(sample).hex(),
            sample=sample,
            raw=json.dumps({"id": k, "messages": plain_messages(sample)}).encode(),
            file="chats.jsonl",
            line=10 + k,
            gain=1 / (k + 1),
        )
        for k, sample in enumerate(samples, 1)
    ]


def exported(folder, form, samples):
    return EXPORTERS.get(form)(rows_for(samples), folder, {"dataset": "chats"})


def json_rows(out, name="train.jsonl"):
    return [json.loads(line) for line in (out / name).read_bytes().splitlines()]


def manifest_of(out):
    return json.loads((out / "manifest.json").read_bytes())
