"""Outbound: what the store has committed, in a format that another program owns.

A selection exporter is a function `(rows, out, provenance, *, overwrite=False) -> Path`: it takes
ExportRows in the order picked and writes a folder with the data, `provenance.jsonl` and
`manifest.json` (see `bundle`). It never computes and never opens the store.
"""

from __future__ import annotations

from influence_store.registry import Entry, Registry

EXPORTERS = Registry(
    "exporter",
    "influence_store.exporters",
    {
        "jsonl": Entry(
            "influence_store.exporters.jsonl:export_jsonl", "the source records, byte for byte"
        ),
        "trl": Entry(
            "influence_store.exporters.trl:export_trl", "TRL prompt/completion, texts or messages"
        ),
    },
)
