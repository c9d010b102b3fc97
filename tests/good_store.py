"""A small store with something of everything, and a shell that proves it unharmed by bad input."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from manifest import MANIFEST
from raw_path import checksums, raw_path
from sqlmodel import Session, SQLModel, select

from influence_store.cli import main
from influence_store.schema.catalog import Run
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from raw_path import RawPath

N_ROWS = 40
#: What a text may try on the terminal, the spreadsheet or the log of whoever looks at it.
HOSTILE = (
    "=cmd|'/C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(1+1)",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "one\ninfluence-store: all is well\r\nthree",
    "evil\u202etxt.exe\u2028next\x9b31m",
    "\t=1+1",
)
#: How a line of our own or a log would be forged, or a terminal steered.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


def shell(*arguments: str, stdin: Any = None) -> Said:
    """The real entry point in this process: its exit code, stdout and stderr."""
    logger = logging.getLogger("influence_store")
    before = sys.argv, sys.stdin, signal.getsignal(signal.SIGTERM), logger.handlers[:]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    code = 0
    try:
        sys.argv = ["influence-store", *arguments]
        sys.stdin = stdin or io.TextIOWrapper(io.BytesIO())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv, sys.stdin = before[:2]
        signal.signal(signal.SIGTERM, before[2])
        logger.handlers[:] = before[3]
    told = [stream.buffer.getvalue().decode() for stream in (out, err) if not stream.flush()]
    return Said(code, *told)


@dataclass(frozen=True)
class Facts:
    """All that a store holds: the bytes of its files and the rows of its catalog."""

    files: dict[str, str]
    rows: dict[str, list[tuple]]
    working: list[tuple[str, str]]


def facts_of(store: Store) -> Facts:
    """Everything but the log of finished runs and the counter of unused numbers."""
    tables = [t for t in SQLModel.metadata.sorted_tables if t.name not in ("run", "counter")]
    with store.database.read() as session:
        rows = {table.name: _rows(session, table) for table in tables}
        runs = session.exec(select(Run).where(Run.state == "writing")).all()
    files = checksums(raw_path(store.uri))
    files = {path: sum_ for path, sum_ in files.items() if not path.startswith("catalog.sqlite")}
    return Facts(files, rows, [(run.verb, run.scope) for run in runs])


def _rows(session: Session, table) -> list[tuple]:
    return sorted(tuple(map(repr, row)) for row in session.connection().execute(table.select()))


@dataclass
class Trial:
    """A copy of the good store, and a folder for what is done to it.

    It may serve the next test too, as long as nothing but refusals happened to it.
    """

    uri: str
    folder: Path
    selection: str
    ids: list[str]
    before: Facts
    watched: Store
    changed: bool = False

    @property
    def root(self) -> RawPath:
        """Where its marker lies, and all else below."""
        return raw_path(self.uri)

    @property
    def holdings(self) -> RawPath:
        """Where blocks and artifacts lie; in PostgreSQL each role has a folder of its own."""
        return raw_path(self.watched.storage.uri)

    def __call__(self, *arguments: object, stdin: Any = None) -> Said:
        self.changed = True
        return self._run(arguments, stdin)

    def _run(self, arguments: tuple[object, ...], stdin: Any = None) -> Said:
        return shell("--store", self.uri, *map(str, arguments), stdin=stdin)

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def refused(self, code: int, message: str, *arguments: object, stdin: Any = None) -> Said:
        """Exit code, message, nothing on stdout, nothing half-written, nothing interrupted."""
        before, self.changed = self.changed, True  # if it is not refused
        said = self._run(arguments, stdin)
        assert said.code == code, said
        assert re.search(message, said.err), said.err
        assert said.out == ""
        assert not STEERING.search(said.err), repr(said.err)
        self.changed = before
        self.unharmed()
        return said

    def unharmed(self) -> None:
        """The store holds what it held before, and no run is left half-way."""
        before, self.changed = self.changed, True  # if it was harmed
        after = facts_of(self.watched)
        assert after.rows == self.before.rows
        assert after.files == self.before.files
        assert after.working == []
        self.changed = before

    def manifest(self, kind: str, **fields: object) -> Path:
        return self.file("identity.json", json.dumps({**MANIFEST, "kind": kind, **fields}))


def alpaca(rows) -> str:
    """Pairs (instruction, output) as JSON lines."""
    return "".join(json.dumps({"instruction": i, "output": o}) + "\n" for i, o in rows)


@dataclass(frozen=True)
class Good:
    """The store that every trial starts from."""

    uri: str
    selection: str
    ids: list[str]


@pytest.fixture(scope="session")
def good(backend, tmp_path_factory) -> Good:
    """Two datasets, embeddings, pairs, points, vectors, an estimator, estimates, a selection."""
    folder = tmp_path_factory.mktemp("good")
    uri, database = backend.new(folder / "store")

    def run(*arguments: object) -> Said:
        said = shell("--store", uri, *map(str, arguments))
        assert said.code == 0, said
        return said

    run("init", *(("--database", database) if database else ()))
    words = ["red", "green", "blue", "plum", "lime", "teal", "gold", "pink", "grey", "rose"]
    pool = folder / "pool.jsonl"
    pool.write_text(
        alpaca(
            (f"Say {words[k % 10]} and {words[k // 4]} ({k})", f"{words[k // 4]} {words[k % 10]}")
            for k in range(N_ROWS)
        )
    )
    hostile = folder / "hostile.jsonl"
    hostile.write_text(alpaca((text, text) for text in HOSTILE))
    run("ingest", pool, "--dataset", "pool")
    run("ingest", hostile, "--dataset", "hostile")
    for name in ("pool", "hostile"):
        run("embed", name, "--embedder", "hashing:16")
    asked = "select sample_id from pool order by line"
    ids = [row["sample_id"] for row in run("query", "--format", "json", asked).json()]
    for path, form, identity in _score_files(folder, ids):
        run("import", path, "--format", form, "--identity", identity)
    run("train", "pool", "--method", "foreign", "--network", "cosine", "--name", "guess")
    run("fill", "pool")
    selection = run("select", "pool", "--budget", "5", "--json").json()["id"]
    return Good(uri, selection, ids)


def _score_files(folder: Path, ids: list[str]):
    """Values of some pairs, a number and a vector per row, as another tool leaves them."""
    rng = np.random.default_rng(0)
    some = ids[: N_ROWS // 2]
    np.save(folder / "pairs.npy", rng.normal(size=(len(some), len(some))).astype(np.float32))
    pl.DataFrame({"sample_id": ids, "value": rng.normal(size=N_ROWS)}).write_parquet(
        folder / "points.parquet"
    )
    vectors = rng.normal(size=(N_ROWS, 4)).tolist()
    pl.DataFrame({"sample_id": ids, "vector": vectors}).write_parquet(folder / "vectors.parquet")
    axes = {"source_ids": some, "target_ids": some}
    for path, form, fields in (
        ("pairs.npy", "dattri", {"kind": "pairwise", **axes}),
        ("points.parquet", "parquet", {"kind": "pointwise", "method": "quality"}),
        ("vectors.parquet", "parquet", {"kind": "bilinear", "method": "grads"}),
    ):
        identity = folder / f"{path}.json"
        identity.write_text(json.dumps({**MANIFEST, **fields}))
        yield folder / path, form, identity


@pytest.fixture(scope="session")
def _copies(good, backend, tmp_path_factory):
    """The copy that may be used once more; another one after it was changed."""
    kept: list[Trial] = []

    def copy() -> Trial:
        if not kept or kept[-1].changed:
            folder = tmp_path_factory.mktemp("copy")
            uri, _ = backend.copy(good.uri, None, folder / "store")
            watched = Store.open(uri, __version__)
            facts = facts_of(watched)
            kept.append(Trial(uri, folder, good.selection, good.ids, facts, watched))
        return kept[-1]

    yield copy
    for one in kept:
        one.watched.database.close()


@pytest.fixture
def trial(_copies, tmp_path) -> Trial:
    """A copy of the good store, to be asked bad things."""
    made = _copies()
    made.folder = tmp_path
    return made
