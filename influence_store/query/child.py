"""Run one SELECT where it can do no harm: a process that holds these tables and nothing else.

Started by `engine` as a script, never imported by the program. Speaks over its pipes: lines of
JSON, tables as Arrow IPC streams. Reads

    {sql, memory, threads, cpu_seconds}                 and answers {tree}: as DuckDB parsed it
    {table: NAME} and its stream, for each table
    {params: true} and a stream of one row or none      and answers, for each part of the rows,
                                                        {rows: BYTES} and a stream; then {}

Any answer may be {error, text} instead. Once the statement is run, the process can open no file
and no socket, write to none but its pipe, and change no setting.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path += sys.argv[1:]
    # None is needed here, and loading them would take longer than all the rest.
    sys.modules.update(dict.fromkeys(("cloudpickle", "numpy")))  # type: ignore[arg-type]

import json
import os
import threading
from contextlib import suppress
from typing import IO, Any

import duckdb
import pyarrow as pa

try:
    import resource
except ImportError:  # Windows: the wall clock and DuckDB's own lock remain
    resource = None  # type: ignore[assignment]

_CONFIG: dict[str, str | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "temp_directory": "",
    "max_temp_directory_size": "0KB",
}
_CLOSED = (
    "set enable_progress_bar = false",
    "set enable_external_access = false",
    "set disabled_filesystems = 'LocalFileSystem'",
)
# Class- or dataset-normalised scores (VoG) are a matter of reading: a fact is stored raw.
_STANDARDISED = """
create macro standardised(x, g) as
    (x - avg(x) over (partition by g)) / nullif(stddev_pop(x) over (partition by g), 0)
"""
# The caller hands over a table for every selection that is named so.
_SELECTED = "create macro selected(id) as table from query_table('selected:' || id)"
# Code, thread stacks and the address space that allocators reserve and do not use.
_OVERHEAD = 2 << 30
_ROWS_AT_ONCE = 65536


class NotOneSelect(Exception):
    """The SQL is something else than exactly one SELECT."""


def main() -> None:
    """Serve one statement and end."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library might print does not get between the answers
    try:
        _serve(incoming, outgoing)
        _say(outgoing, {})
    except BrokenPipeError:
        pass  # nobody waits for the answer any more
    except BaseException as error:  # MemoryError, and whatever DuckDB raises
        _say(outgoing, {"error": type(error).__name__, "text": str(error)})
    os._exit(0)  # nothing here needs an orderly end


def connect(threads: int) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that reaches nothing outside."""
    connection = duckdb.connect(":memory:", config={**_CONFIG, "threads": threads})
    connection.execute(_STANDARDISED)
    connection.execute(_SELECTED)
    for setting in _CLOSED:
        connection.execute(setting)
    return connection


def lock(connection: duckdb.DuckDBPyConnection, memory: int) -> None:
    """Bound its memory, in bytes; after this, no setting can be changed."""
    connection.execute(f"set memory_limit = '{int(memory)}B'")
    connection.execute("set lock_configuration = true")


def one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The statement, read and not run. NotOneSelect for others, duckdb.Error for bad SQL."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise NotOneSelect
    return statements[0]


def tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any] | None:
    """The one SELECT as the parser's own tree; None for the few that it cannot write down."""
    found = connection.execute("select json_serialize_sql($sql)", {"sql": sql}).fetchall()
    told: dict[str, Any] = json.loads(found[0][0])
    return None if told["error"] else told["statements"][0]


def _serve(incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    asked = json.loads(incoming.readline())
    memory = asked["memory"]
    _limit("RLIMIT_AS", memory + _OVERHEAD)
    _limit("RLIMIT_CPU", asked["cpu_seconds"])
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", 0)
    connection = connect(asked["threads"])
    statement = one_select(connection, asked["sql"])
    _say(outgoing, {"tree": tree(connection, asked["sql"])})
    tables: dict[str, pa.Table] = {}
    while "table" in (line := json.loads(incoming.readline())):
        tables[line["table"]] = pa.ipc.open_stream(incoming).read_all()
    params = pa.ipc.open_stream(incoming).read_all().to_pylist()
    for name, table in tables.items():
        connection.register(name, table)
    held = sum(table.nbytes for table in tables.values())
    lock(connection, max(memory - held, memory // 10))
    connection.sql("select 1").to_arrow_reader(1)  # loads what is loaded at first use
    threading.Thread(target=_die_with_parent, args=[incoming], daemon=True).start()
    _limit("RLIMIT_NOFILE", 0)  # pipes stay open; no file, socket or library opens any more
    rows = connection.sql(statement, params=params[0] if params else {}).to_arrow_reader(
        _ROWS_AT_ONCE
    )
    _hand_out(outgoing, rows.schema.empty_table())
    for batch in rows:
        _hand_out(outgoing, pa.Table.from_batches([batch]))


def _die_with_parent(incoming: IO[bytes]) -> None:
    """The parent never writes again, so this returns when it is gone, however it went."""
    incoming.read(1)
    os._exit(1)


def _limit(name: str, most: int) -> None:
    """Set a limit of the kernel, where there is one of that name that can be set."""
    if which := getattr(resource, name, None):
        with suppress(OSError, ValueError):
            resource.setrlimit(which, (most, most))


def _hand_out(outgoing: IO[bytes], rows: pa.Table) -> None:
    """Each part is a stream of its own behind its size: whoever waits for it can be interrupted."""
    part = pa.BufferOutputStream()
    with pa.ipc.new_stream(part, rows.schema) as stream:
        stream.write_table(rows)
    content = part.getvalue()
    _say(outgoing, {"rows": content.size})
    outgoing.write(content)


def _say(outgoing: IO[bytes], answer: dict[str, Any]) -> None:
    outgoing.write(json.dumps(answer).encode() + b"\n")
    outgoing.flush()


if __name__ == "__main__":
    main()
