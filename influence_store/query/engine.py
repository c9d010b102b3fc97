"""Have one SELECT answered by a process of its own, within limits, and end that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Self

import orjson
import polars as pl
import pyarrow as pa

from influence_store.errors import QueryLimit, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Where shared libraries are found, and what Windows cannot start without; never a secret.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
# To start and to read the SQL, on a machine that is busy; only then the query's own time begins.
_START_SECONDS = 60.0
_OUT_OF_MEMORY = ("OutOfMemoryException", "MemoryError", "ArrowMemoryError")


@dataclass(frozen=True)
class Limits:
    """What one statement may use: wall-clock seconds, bytes of memory in all, threads."""

    seconds: float = 60.0
    memory: int = 4 << 30
    threads: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))


class EngineError(Exception):
    """What DuckDB says about the statement: the name of its error, and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Engine:
    """A child that answers one statement: `ask`, then `send` tables, then `rows`.

    Starts at once, so that it gets ready while the caller reads the tables. UsageError when a
    limit is reached, EngineError for what is wrong with the statement, StorageError if it cannot
    be started. Leaving the context ends the child (`process`), whatever it does.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0
        self._stopped: Exception | None = None
        try:
            self.process = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                start_new_session=True,  # Ctrl-C reaches us; we end the child
            )
        except OSError as error:
            raise StorageError(f"the query engine cannot be started: {error}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin, self.process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._from.close()
        with suppress(BrokenPipeError):  # it ended before it had read all
            self._to.close()

    def ask(self, sql: str) -> None:
        """Say what will be run."""
        limits = self._limits
        cpu = int((limits.seconds + 60) * limits.threads) + 1  # should nobody be left to kill it
        asked = {"memory": limits.memory, "threads": limits.threads, "cpu_seconds": cpu}
        try:
            self._tell({"sql": sql, **asked})
        except orjson.JSONEncodeError as error:
            raise UsageError(f"the SQL is not Unicode text: {error}") from error

    def accepted(self) -> dict[str, Any] | None:
        """Wait until it has been read; return the parser's tree, None where there is none.

        EngineError `NotOneSelect` if it is anything but one SELECT.
        """
        late = StorageError(f"the query engine was not ready after {_START_SECONDS:g} s")
        with self._in_time(_START_SECONDS, late):
            return self._answer()["tree"]  # type: ignore[no-any-return]

    def send(self, name: str, table: pa.Table) -> None:
        """Hand over what the statement calls `name`."""
        self._held += table.nbytes
        if self._held > 0.9 * self._limits.memory:
            raise self._too_big("reads more columns than fit into")
        self._tell({"table": name})
        self._stream(table)

    def rows(self, params: Mapping[str, Any]) -> pa.Table:
        """Run the statement and return its rows."""
        bound = _one_row(params)
        seconds = self._limits.seconds
        late = QueryLimit(
            f"the query was stopped after {seconds:g} s",
            hint=f"ask for less (where, limit), or allow more: --timeout {10 * seconds:g}",
        )
        with self._in_time(seconds, late):
            self._tell({"params": True})
            self._stream(bound)
            return pa.concat_tables(self._parts())

    def hold(self, size: int) -> None:
        """QueryLimit for an answer of so many bytes if it is too large."""
        if size > self._limits.memory:
            raise self._too_big("has an answer larger than")

    def _tell(self, told: dict[str, Any]) -> None:
        try:
            self._to.write(orjson.dumps(told) + b"\n")
            self._to.flush()
        except BrokenPipeError:
            self._answer()

    def _stream(self, table: pa.Table) -> None:
        try:
            with pa.ipc.new_stream(self._to, table.schema) as stream:
                stream.write_table(table)
            self._to.flush()
        except BrokenPipeError:
            self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._from.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        answer: dict[str, Any] = orjson.loads(line)
        if answer.get("error") in _OUT_OF_MEMORY:
            raise self._too_big("needs more than")
        if "error" in answer:
            raise EngineError(answer["error"], answer["text"])
        return answer

    def _parts(self) -> Iterator[pa.Table]:
        size = 0
        while wanted := self._answer().get("rows"):
            size += wanted
            self.hold(size)
            # Read here, since a wait inside Arrow does not heed Ctrl-C.
            content = self._from.read(wanted)
            if len(content) < wanted:
                raise self._ended()
            part = pa.ipc.open_stream(content).read_all()
            part.validate(full=True)
            yield part

    @contextmanager
    def _in_time(self, seconds: float, late: Exception) -> Iterator[None]:
        if hasattr(signal, "siginterrupt"):
            signal.siginterrupt(signal.SIGINT, True)  # Polars lets waits go on after Ctrl-C
        timer = Timer(seconds, self._stop, [late])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stop(self, why: Exception) -> None:
        self._stopped = why
        self.process.kill()

    def _ended(self) -> Exception:
        """Why there is no answer."""
        code = self.process.wait()
        if self._stopped is not None:
            return self._stopped
        if code < 0:
            name = signal.Signals(-code).name
            return self._too_big(f"ended its engine ({name}); it may need more than")
        return StorageError(
            f"the query engine ended without an answer (exit {code})",
            hint=f"these must import: {sys.executable} -c 'import duckdb, pyarrow'",
        )

    def _too_big(self, what: str) -> QueryLimit:
        return QueryLimit(
            f"the query {what} {self._limits.memory / 2**30:.3g} GiB of memory",
            hint="name columns instead of *, filter or aggregate; or allow more: --memory",
        )


def _one_row(params: Mapping[str, Any]) -> pa.Table:
    """Through Polars: Arrow would first load pandas, where there is one."""
    try:
        row = pl.DataFrame({name: [value] for name, value in params.items()})
        if objects := [name for name, dtype in row.schema.items() if dtype == pl.Object]:
            raise TypeError(f"{', '.join(objects)}: some Python object")
        return row.to_arrow()
    except (pl.exceptions.PolarsError, ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"a parameter is nothing that SQL can hold: {error}") from error


@cache
def _command() -> tuple[str, ...]:
    """A Python that sees its own library and the folders of the two packages it needs."""
    found = [find_spec(name) for name in ("duckdb", "pyarrow")]
    folders = {str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin}
    script = Path(__file__).with_name("child.py")
    return (sys.executable, "-I", "-S", str(script), *sorted(folders))
