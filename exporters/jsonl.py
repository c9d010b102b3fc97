"""The selected records in their own schema, exactly as they were ingested.

Records that came from JSONL are the bytes of their lines; those from CSV, Parquet or a JSON array
are one JSON object each. Reading the export again gives the same sample ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.exporters.bundle import ExportRow, bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DATA = "train.jsonl"

_USAGE = """\
# train.jsonl: one source record per line, in the order picked.
import json

with open("train.jsonl", encoding="utf-8") as file:
    records = [json.loads(line) for line in file]
"""


def export_jsonl(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.jsonl` (one source record per line) as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        folder.lines(DATA, rows, lambda row: row.raw)
        folder.finish("jsonl", provenance, _USAGE, "usage.py")
    return out
