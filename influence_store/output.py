"""Results on stdout: a table for people, or exactly one JSON document for programs.

Texts in a store come from anywhere. No form of output lets them steer a terminal, forge a line or
run as a spreadsheet's formula: a control character appears as its escape. json, ndjson, parquet and
arrow are exact all the same; csv is made for spreadsheets, so a text that begins like a formula has
a ' before it there.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from influence_store.counted import counted
from influence_store.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl
    import pyarrow as pa

_WIDTH = 60
# Control and format characters (bidirectional marks, too) and separators of lines that JSON leaves
# as they are.
_LEFT = "\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_STEERING = re.compile(f"[{_LEFT}]")
# A quoted cell of a CSV file may hold line breaks and tabs; a \r alone would go back over the line.
_SUSPECT_IN_CSV = rf"[\x00-\x08\x0b-\x1f{_LEFT}]"
_IN_CSV = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{_LEFT}]|\r(?!\n)")
_FORMULA = r"^\s*[=+\-@]|^[\t\r\n]"


class LogFormatter(logging.Formatter):
    """`LEVEL: message`, harmless and without secrets."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its traceback if it has one."""
        return message(super().format(record))


def emit(facts: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print the same facts either as JSON or as lines."""
    if as_json:
        import orjson

        text = orjson.dumps(
            dict(facts),
            option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS,
            default=str,
        )
        click.echo(exact(text.decode()))
    else:
        for line in lines:
            click.echo(plain(line))


def emit_table(table: pa.Table, form: str) -> None:
    """Print the rows of a query; binary columns appear in hex in the text forms."""
    import polars as pl

    if form == "arrow":
        import pyarrow as pa

        with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
            stream.write_table(table)
        return
    frame = pl.DataFrame(pl.from_arrow(table))
    if form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        sys.stdout.buffer.write(buffer.getvalue())
        return
    frame = frame.with_columns(pl.col(pl.Binary).bin.encode("hex"))
    if form == "json":
        click.echo(exact(frame.write_json()))
    elif form == "ndjson":
        click.echo(exact(frame.write_ndjson()), nl=False)
    elif form == "csv":
        click.echo(_csv(frame), nl=False)
    else:
        for line in table_lines(frame.columns, frame.rows()):
            click.echo(line)
        click.echo(counted(frame.height, "row"), err=True)


def table_lines(columns: list[str], rows: list[tuple[Any, ...]]) -> list[str]:
    """Aligned columns; long texts are cut and control characters made harmless."""
    cells = [[_cell(value) for value in row] for row in rows]
    names = [plain(name) for name in columns]
    widths = [max([len(name), *[len(row[k]) for row in cells]]) for k, name in enumerate(names)]
    numeric = [all(isinstance(row[k], (int, float)) for row in rows) for k in range(len(columns))]

    def line(values: list[str]) -> str:
        parts = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return [line(names), line(["-" * width for width in widths]), *map(line, cells)]


def moment(seconds: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def plain(text: str) -> str:
    """`text` on one line, every control character escaped: it cannot steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def message(text: str) -> str:
    """`text` as it may be printed on stderr: lines stay lines, nothing steers, no secret shows."""
    return "\n".join(plain(line) for line in redact(text).split("\n"))


def exact(json: str) -> str:
    """The same JSON in characters that a terminal shows: `\\u009b` for what would steer it."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def _csv(frame: pl.DataFrame) -> str:
    import polars as pl

    lists = [name for name, kind in frame.schema.items() if kind.is_nested()]
    joined = [pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists]
    frame = frame.with_columns(joined).rename(plain)
    text = pl.col(pl.String)
    suspect = frame.select(text.str.contains(_SUSPECT_IN_CSV).any())
    for name in [one.name for one in suspect if one[0]]:
        frame = frame.with_columns(pl.col(name).map_elements(_quotable, return_dtype=pl.String))
    harmless = pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text)
    return frame.with_columns(harmless.name.keep()).write_csv()


def _quotable(text: str) -> str:
    return _IN_CSV.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{len(value)} numbers]"
    text = plain(str(value))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
