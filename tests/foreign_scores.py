"""Score files of another tool, handed to `import` with a manifest that says what they are."""

from __future__ import annotations

import numpy as np
import polars as pl


def imported(trial, kind: str, content, **fields):
    """The `import` command for a table (parquet), an array (.npy) or bytes (.pt)."""
    fields = {"method": "new", **fields}
    if isinstance(content, pl.DataFrame):
        path, form = trial.folder / "scores.parquet", "parquet"
        content.write_parquet(path)
    else:
        form = "dattri"
        name = "scores.npy" if isinstance(content, np.ndarray) else "scores.pt"
        path = trial.file(name, b"" if isinstance(content, np.ndarray) else content)
        if isinstance(content, np.ndarray):
            np.save(path, content, allow_pickle=True)
        fields = {"source_ids": trial.ids, "target_ids": trial.ids, **fields}
    return "import", path, "--format", form, "--identity", trial.manifest(kind, **fields)


def table(ids, **columns) -> pl.DataFrame:
    """A table with a value per sample."""
    return pl.DataFrame({"sample_id": ids, **columns}, strict=False)


def vector_table(ids, third) -> pl.DataFrame:
    """Four ones for each sample, but for the third."""
    rows = [[1.0] * 4 for _ in ids]
    rows[2] = third
    return pl.DataFrame({"sample_id": ids, "vector": pl.Series(rows, dtype=pl.List(pl.Float64))})
