"""The selected samples as one Parquet file: texts, messages, and where each row came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.exporters.bundle import Bundle, ExportRow, bundle
from influence_store.exporters.messages import plain_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pyarrow as pa

DATA = "train.parquet"
# What the columns hold, in the order in which they are written.
COLUMNS = {
    "rank": "place in the selection, 1 = picked first",
    "gain": "marginal gain when picked",
    "sample_id": "identity of the sample: the digest of what it says",
    "file": "source file",
    "line": "line or record in the source file",
    "prompt": "everything before the response, as plain text",
    "response": "the last answer",
    "system": "system prompt, empty where there is none",
    "messages": "the whole conversation as role and content, the system prompt first",
    "tools": "tool declarations as JSON text, null where there are none",
}

_BATCH_ROWS = 1024
_BATCH_CHARACTERS = 16 << 20
_USAGE = """\
import polars as pl

rows = pl.read_parquet("train.parquet")
"""


def export_parquet(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.parquet` with the columns of COLUMNS as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        write_table(folder, rows)
        folder.finish("parquet", provenance, _USAGE, "usage.py")
    return out


def write_table(folder: Bundle, rows: Iterable[ExportRow]) -> None:
    """Write `train.parquet` and the origins, a batch of rows in memory at a time."""
    table = folder.table(DATA, _schema())
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(_values(row))
        size += sum(len(turn.text) for turn in row.sample.turns)
        if len(batch) == _BATCH_ROWS or size >= _BATCH_CHARACTERS:
            table.write(batch)
            batch, size = [], 0
        folder.origin(row)
    if batch:
        table.write(batch)


def _values(row: ExportRow) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "gain": row.gain,
        "sample_id": row.sample_id,
        "file": row.file,
        "line": row.line,
        "prompt": row.sample.prompt,
        "response": row.sample.response,
        "system": row.sample.system,
        "messages": plain_messages(row.sample),
        "tools": row.sample.tools or None,
    }


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    types = dict.fromkeys(COLUMNS, text) | {
        "rank": pa.int64(),
        "gain": pa.float64(),
        "line": pa.int64(),
        "messages": pa.list_(pa.struct([("role", text), ("content", text)])),
    }
    return pa.schema([(name, types[name]) for name in COLUMNS])
