"""A folder that `datasets.load_dataset` reads and that can be pushed to a hub as it is.

The card, README.md, names the data file, so that the loader does not take the manifest for data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.exporters.bundle import ExportRow, bundle
from influence_store.exporters.parquet import COLUMNS, DATA, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CARD = "README.md"

_USAGE = """\
from pathlib import Path

from datasets import load_dataset

folder = Path().resolve()  # this folder; "." will not do, datasets names the data by its path
dataset = load_dataset(str(folder), split="train")
conversations = dataset.select_columns(["messages", "tools"])  # for TRL
"""
_HEADER = f"""\
---
configs:
  - config_name: default
    data_files:
      - split: train
        path: {DATA}
tags:
  - influence-store
---
"""


def export_hf(
    rows: Iterable[ExportRow], out: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> Path:
    """Write `train.parquet` and the dataset card as a bundle; returns `out`."""
    with bundle(out, overwrite=overwrite) as folder:
        write_table(folder, rows)
        card = folder.file(CARD)
        for line in _card(provenance).splitlines():
            card.write(line.encode())
        folder.finish("hf", provenance, _USAGE, "usage.py")
    return out


def _card(provenance: Mapping[str, Any]) -> str:
    facts = [f"| {_cell(key)} | {_cell(value)} |" for key, value in provenance.items()]
    columns = [f"| `{name}` | {what} |" for name, what in COLUMNS.items()]
    parts = [
        _HEADER,
        "# A selection of instruction data",
        "",
        "Samples that were worth training on, chosen by influence-store, in the order picked.",
        "`manifest.json` has the digest of every file; line k of `provenance.jsonl` leads row k",
        "back to its file and line.",
        "",
        "| selected from | |",
        "|---|---|",
        *facts,
        "",
        "| column | what it holds |",
        "|---|---|",
        *columns,
        "",
        "```python",
        _USAGE.rstrip(),
        "```",
    ]
    return "\n".join(parts)


def _cell(value: Any) -> str:
    """A value as one cell of a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").split())
