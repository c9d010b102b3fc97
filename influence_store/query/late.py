"""Columns that a statement only passes on: read for the rows of its answer, not for all.

In the table that the engine sees, such a column holds the row's sid in a struct whose field names
view and column. The engine hands it on; here it becomes what it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.protocols import Ids

_MARK = "\x1f"
_ROWS_AT_ONCE = 65_536


def with_later(
    table: pa.Table, sids: pa.ChunkedArray, view: str, wanted: Sequence[str]
) -> pa.Table:
    """`wanted` columns in that order: those that `table` does not have stand for themselves."""
    columns = [
        table[name] if name in table.column_names else _placeholder(sids, view, name)
        for name in wanted
    ]
    return pa.table(columns, names=[*wanted])


def read_later(
    answer: pa.Table,
    read: Callable[[str, list[str], BitMap], pa.Table],
    check: Callable[[int], None],
) -> pa.Table:
    """The answer with values in place of sids; `read` gives columns of a view for some sids.

    `check` is told the bytes of the answer as it grows and may raise.
    """
    late = {k: where for k, one in enumerate(answer.schema) if (where := _stands_for(one))}
    if not late:
        return answer
    sids = {k: _sids(answer.column(k)) for k in late}
    found = {view: _found(view, late, sids, read) for view in {view for view, _ in late.values()}}
    parts, size = [], 0
    for start in range(0, max(1, answer.num_rows), _ROWS_AT_ONCE):
        part = answer.slice(start, _ROWS_AT_ONCE)
        for k, (view, column) in late.items():
            known, frame = found[view]
            values = _gathered(frame[column], known, sids[k][start : start + _ROWS_AT_ONCE])
            part = part.set_column(k, answer.schema.names[k], values)
        size += part.nbytes
        check(size)
        parts.append(part)
    return pa.concat_tables(parts)


def _placeholder(sids: pa.ChunkedArray, view: str, column: str) -> pa.ChunkedArray:
    name = f"{_MARK}{view}{_MARK}{column}"
    chunks = [pa.StructArray.from_arrays([chunk], [name]) for chunk in sids.chunks]
    return pa.chunked_array(chunks, pa.struct([(name, sids.type)]))


def _stands_for(field: pa.Field) -> tuple[str, str] | None:
    """View and column, if the field is a placeholder."""
    if not (pa.types.is_struct(field.type) and field.type.num_fields == 1):
        return None
    nothing, *where = field.type.field(0).name.split(_MARK)
    return (where[0], where[1]) if not nothing and len(where) == 2 else None


def _sids(column: pa.ChunkedArray) -> Ids:
    """Of each row; −1 where an outer join found none."""
    inner = pa.chunked_array([chunk.flatten()[0] for chunk in column.chunks], pa.int64())
    return np.asarray(inner.fill_null(-1), np.int64)


def _found(
    view: str,
    late: Mapping[int, tuple[str, str]],
    sids: Mapping[int, Ids],
    read: Callable[[str, list[str], BitMap], pa.Table],
) -> tuple[Ids, pl.DataFrame]:
    """The sids that are asked for, ascending, and their columns, read once."""
    columns = {column: sids[k] for k, (other, column) in late.items() if other == view}
    known = np.unique(np.concatenate([*columns.values()]))
    known = known[known >= 0]
    found = read(view, ["sid", *columns], BitMap(known.tolist()))
    return known, pl.DataFrame(pl.from_arrow(found)).sort("sid")


def _gathered(column: pl.Series, known: Ids, sids: Ids) -> pa.Array:
    if not len(known):
        rows = pl.Series([None] * len(sids), dtype=pl.Int64)
    else:
        rows = pl.Series(np.searchsorted(known, sids)).set(pl.Series(sids < 0), None)
    values = column.gather(rows).to_arrow()
    # As the engine hands out a text.
    return values.cast(pa.string()) if column.dtype == pl.String else values
