"""Parquet: a table that names the sample ids of its values, and so needs no further axes.

- pointwise: `sample_id` and columns of numbers
- pairwise: `target_id`, `source_id` and columns of numbers; any part of all pairs
- bilinear: `sample_id`, `vector` (a list of numbers), and `side` ("target" or "source"), without
  which a sample has the same vector on both sides

Ids are 16 bytes or 32 hex digits, as `influence-store query --parquet` writes them. `outputs` in
the manifest picks and orders columns; null is no value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from influence_store.errors import InputError
from influence_store.influence.imports.axes import id_column
from influence_store.influence.imports.scores import (
    Read,
    pairs_from_rows,
    points,
    vectors,
)

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.influence.imports.identity import Manifest
    from influence_store.protocols import Doubles

_KEYS = {
    "pointwise": ("sample_id",),
    "pairwise": ("target_id", "source_id"),
    "bilinear": ("sample_id", "vector"),
}
_SIDES = ("target", "source")


def read(path: Path, manifest: Manifest) -> Read:
    """Points, pairs or vectors, as the manifest's `kind` says."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"cannot read {path} as Parquet: {error}") from error
    keys = _KEYS[manifest.kind]
    absent = [key for key in keys if key not in frame.columns]
    if absent:
        raise InputError(
            f"{path} has no column {', '.join(absent)}; found {', '.join(frame.columns)}",
            hint=f"{manifest.kind} scores need the columns {', '.join(keys)}",
        )
    if manifest.kind == "bilinear":
        return _vectors(path, frame)
    ids = {key: id_column(frame[key], f"{path}, {key}") for key in keys}
    columns, dropped = _numbers(path, frame.drop(keys), manifest)
    if manifest.kind == "pointwise":
        points_, more = points(ids["sample_id"], columns)
        return Read(points_, [path], {**dropped, **more})
    pairs, more = pairs_from_rows(ids["target_id"], ids["source_id"], columns)
    return Read(pairs, [path], {**dropped, **more})


def _numbers(
    path: Path, frame: pl.DataFrame, manifest: Manifest
) -> tuple[dict[str, Doubles], dict[str, int]]:
    """Columns by the name of their output; those that are no numbers are counted."""
    wanted = manifest.names("outputs") or frame.columns
    absent = [name for name in wanted if name not in frame.columns]
    numeric = [n for n in wanted if n not in absent and frame.schema[n].is_numeric()]
    if absent or not numeric:
        raise InputError(
            f"{path} has no column of numbers {', '.join(absent)}".rstrip(),
            hint=f"found: {', '.join(f'{n} ({t})' for n, t in frame.schema.items()) or 'no other'}",
        )
    dropped = {f"column {name} is no number": len(frame) for name in wanted if name not in numeric}
    columns = {
        manifest.output(name): frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in numeric
    }
    return columns, dropped


def _vectors(path: Path, frame: pl.DataFrame) -> Read:
    if "side" not in frame.columns:
        ids = id_column(frame["sample_id"], f"{path}, sample_id")
        rows = _rows(path, frame)
        both, dropped = vectors(ids, ids, rows, rows)
        return Read(replace(both, symmetric=True), [path], dropped)
    other = frame.filter(~pl.col("side").is_in(_SIDES) | pl.col("side").is_null())
    if len(other):
        raise InputError(f"{path}: side is {other['side'][0]!r}, expected target or source")
    halves = {side: frame.filter(pl.col("side") == side) for side in _SIDES}
    target_ids, source_ids = (
        id_column(halves[side]["sample_id"], f"{path}, sample_id") for side in _SIDES
    )
    target_rows, source_rows = (_rows(path, halves[side]) for side in _SIDES)
    table, dropped = vectors(target_ids, source_ids, target_rows, source_rows)
    return Read(table, [path], dropped)


def _rows(path: Path, frame: pl.DataFrame) -> Doubles:
    """(n, dim); a null vector is a row of NaN."""
    column = frame["vector"]
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if not isinstance(column.dtype, pl.List):
        raise InputError(f"{path}: vector is {column.dtype}, expected a list of numbers")
    if not column.dtype.inner.is_numeric():
        raise InputError(f"{path}: vector holds {column.dtype.inner}, expected numbers")
    widths = column.list.len().drop_nulls().unique().to_list()
    if len(widths) != 1 or not widths[0]:
        raise InputError(
            f"{path}: vectors have {sorted(widths)[:5]} dimensions, expected one width"
        )
    rows = [[np.nan] * widths[0] if row is None else row for row in column.to_list()]
    return np.array(rows, np.float64)
