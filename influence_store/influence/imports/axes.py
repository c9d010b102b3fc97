"""Which samples are the rows of a score file? Sample ids, in the order of the rows.

A row is named by its content's id, never by its position alone: the data file may have grown,
been sorted or been cleaned since. A list of ids says it best; a data file is turned into ids by
the caller's `rows_of`, which must refuse a file with unreadable rows, since one row less shifts
all that follow.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import InputError, NotFound
from influence_store.schema.identity import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl


def ids_of(
    ref: Any, name: str, base: Path, rows_of: Callable[[Path], Sequence[bytes]] | None
) -> tuple[bytes, ...]:
    """Ids from a list of 32 hex digits each, a .txt, .json or .parquet of them, or a data file."""
    if isinstance(ref, list):
        return parsed(ref, name)
    if not isinstance(ref, str):
        raise InputError(f"{name} is {ref!r:.80}, expected a file name or a list of sample ids")
    path = base / Path(ref).expanduser()
    if not path.is_file():
        raise NotFound(f"{name}: there is no file {path}", hint="ls the path")
    listed = _listed(path)
    if listed is not None:
        return parsed(listed, str(path))
    if rows_of is None:
        raise InputError(
            f"{name}: {path} lists no sample ids",
            hint="name a .txt with one id of 32 hex digits per line, in the order of the rows",
        )
    return tuple(rows_of(path))


def parsed(listed: Sequence[Any], name: str) -> tuple[bytes, ...]:
    """Ids as bytes, from bytes or hex digits; InputError names the first that is neither."""
    out = []
    for position, one in enumerate(listed):
        raw = one if isinstance(one, bytes) else b""
        if isinstance(one, str):
            with suppress(ValueError):
                raw = bytes.fromhex(one)
        if len(raw) != ID_BYTES:
            raise InputError(
                f"{name}: entry {position} is {one!r:.60}, expected a sample id of 32 hex digits",
                hint='influence-store query "select sample_id from samples"',
            )
        out.append(raw)
    return tuple(out)


def id_column(column: pl.Series, name: str) -> tuple[bytes, ...]:
    """Ids of a table's column of 16 bytes or 32 hex digits."""
    return parsed(column.to_list(), name)


def _listed(path: Path) -> list[Any] | None:
    """The ids that a file lists, or None if it is something else."""
    if path.suffix == ".txt":
        return path.read_text("utf-8").split()
    if path.suffix == ".json":
        try:
            value = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise InputError(f"{path} is not JSON: {error}", hint="expected a list") from error
        return value if isinstance(value, list) and not any(map(_is_record, value)) else None
    if path.suffix in (".parquet", ".pq"):
        import polars as pl

        if "sample_id" in pl.read_parquet_schema(path):
            return pl.read_parquet(path, columns=["sample_id"])["sample_id"].to_list()
    return None


def _is_record(value: Any) -> bool:
    return isinstance(value, dict)
