"""Results on stdout: a table for people, or exactly one JSON document for programs."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

_WIDTH = 60


def emit(facts: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print the same facts either as JSON or as lines."""
    if as_json:
        import orjson

        text = orjson.dumps(
            dict(facts),
            option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS,
            default=str,
        )
        click.echo(text.decode())
    else:
        for line in lines:
            click.echo(line)


def emit_table(table: pa.Table, form: str) -> None:
    """Print the rows of a query; binary columns appear in hex in the text forms."""
    import polars as pl

    frame = pl.DataFrame(pl.from_arrow(table))
    if form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        sys.stdout.buffer.write(buffer.getvalue())
        return
    frame = frame.with_columns(pl.col(pl.Binary).bin.encode("hex"))
    if form == "json":
        click.echo(frame.write_json())
    elif form == "ndjson":
        click.echo(frame.write_ndjson(), nl=False)
    elif form == "csv":
        lists = [name for name, kind in frame.schema.items() if kind.is_nested()]
        texts = [pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists]
        click.echo(frame.with_columns(texts).write_csv(), nl=False)
    else:
        for line in table_lines(frame.columns, frame.rows()):
            click.echo(line)
        click.echo(f"{frame.height:,} rows", err=True)


def table_lines(columns: list[str], rows: list[tuple[Any, ...]]) -> list[str]:
    """Aligned columns; long texts are cut and control characters made harmless."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(name), *[len(row[k]) for row in cells]]) for k, name in enumerate(columns)]
    numeric = [all(isinstance(row[k], (int, float)) for row in rows) for k in range(len(columns))]

    def line(values: list[str]) -> str:
        parts = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return [line(columns), line(["-" * width for width in widths]), *map(line, cells)]


def plain(text: str) -> str:
    """`text` on one line, every control character escaped: it cannot steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{len(value)} numbers]"
    text = plain(str(value))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
