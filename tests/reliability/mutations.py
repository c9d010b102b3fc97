"""Does the suite notice when a safeguard is taken out? One mutation at a time, in a copy.

    python tests/reliability/mutations.py [NAME …]

Copies the package, replaces the body of one function (or one text), and runs the tests that must
fail then. Prints which one did first; exit 1 if a mutation survives.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutation:
    """A safeguard taken out. `function`, or that text, gets `body`."""

    name: str
    file: str
    function: str
    body: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The changed text of the file; LookupError where there is no such place."""
        if self.function.isidentifier() or re.fullmatch(r"\w+\.\w+", self.function):
            return _with_body(source, self.function, self.body)
        if source.count(self.function) != 1:
            raise LookupError(f"{self.file} has {self.function!r} not exactly once")
        return source.replace(self.function, self.body)


POWER = "tests/reliability/test_power_cut.py"
ZOMBIES = "tests/reliability/test_zombies.py"
ENGINE = "tests/query/test_hostile_sql.py::test_the_lock_of_the_engine_alone_holds"
GC = "tests/keep/test_gc.py"
_CLOSED = """_CLOSED = (
    "set enable_progress_bar = false",
    "set enable_external_access = false",
    "set disabled_filesystems = 'LocalFileSystem'",
)
"""
MUTATIONS = (
    Mutation("fsync sweep removed", "store/local.py", "LocalStorage.settle", "return", (POWER,)),
    Mutation(
        "only files are synced, not folders",
        "store/local.py",
        "LocalStorage.settle",
        "for found in (self.root / path).rglob('*'):\n    if found.is_file():\n        sync(found)",
        (POWER,),
    ),
    Mutation(
        "only folders are synced, not files",
        "store/local.py",
        "                else:\n                    sync(found)\n",
        "",
        (POWER,),
    ),
    Mutation(
        "SQLite does not wait for the disk",
        "store/database.py",
        "synchronous=FULL",
        "synchronous=OFF",
        (POWER,),
    ),
    Mutation(
        "token check removed",
        "store/runs.py",
        "ActiveRun._held",
        "return session.get(Run, self.id)",
        (ZOMBIES,),
    ),
    Mutation(
        "a lease never protects",
        "store/runs.py",
        "is_alive",
        "return False",
        ("tests/store/test_runs.py",),
    ),
    Mutation(
        "read-back compare removed",
        "store/blocks.py",
        "if (read_back.n_rows, read_back.hexdigest()) != (written.n_rows, written.hexdigest()):",
        "if False:",
        ("tests/reliability/test_read_back.py",),
    ),
    Mutation(
        "two ingests may bring the same content",
        "jobs/ingest.py",
        "            raise _Raced\n",
        "            pass\n",
        ("tests/jobs/test_races.py",),
    ),
    Mutation(
        "blocks are published one by one",
        "store/runs.py",
        "            more(session, [_insert(session, block, self.id, now) for block in blocks])",
        "            ids = [_insert(session, block, self.id, now) for block in blocks]\n"
        "            session.commit()\n"
        "            more(session, ids)",
        ("tests/store/test_runs.py",),
    ),
    Mutation(
        "a commit whose answer was lost is done again",
        "store/runs.py",
        'if run.result.get("published", 0) > self._n_published:',
        "if False:",
        ("tests/postgres/test_conflicts_and_restarts.py",),
    ),
    Mutation(
        "gc takes tables of live runs",
        "jobs/gc.py",
        "finished = known.runs - {run.id for run in known.alive}",
        "finished = known.runs",
        (GC,),
    ),
    Mutation(
        "gc takes retired blocks that a live run reads",
        "jobs/gc.py",
        "oldest = min([now, *(run.started_at for run in known.alive)])",
        "oldest = now",
        (GC,),
    ),
    Mutation(
        "faked put-if-absent is not noticed",
        "store/objects.py",
        "ObjectStorage.probe",
        "return",
        ("tests/s3/test_object_storage.py",),
    ),
    Mutation(
        "row-level security is not forced on owners",
        "schema/migrations/versions/0003_teams.py",
        '    op.execute(f"alter table {table} force row level security")\n',
        "",
        ("tests/postgres/test_schema_on_both.py",),
    ),
    Mutation(
        "models and estimators are loaded unhashed",
        "store/artifacts.py",
        "if hashlib.sha256(content).hexdigest() != sha256:",
        "if False:",
        ("tests/bad_input/test_bad_models.py",),
    ),
    Mutation(
        "the query engine may reach files", "query/child.py", _CLOSED, "_CLOSED = ()\n", (ENGINE,)
    ),
    Mutation(
        "settings of the query engine are not locked",
        "query/child.py",
        '    connection.execute("set lock_configuration = true")\n',
        "",
        (ENGINE,),
    ),
    Mutation(
        "any SQL statement is run",
        "query/child.py",
        "if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:",
        "if False:",
        ("tests/query/test_hostile_sql.py::test_what_is_no_select_is_not_even_run",),
    ),
)


def main(chosen: list[str]) -> int:
    """Run the chosen mutations, or all; 1 if one survived."""
    survivors = 0
    print(f"{'mutation':<46} failing test")
    for mutation in MUTATIONS:
        if chosen and mutation.name not in chosen:
            continue
        failed = _failing_test(mutation)
        survivors += not failed
        print(f"{mutation.name:<46} {failed or 'NONE: IT SURVIVES'}", flush=True)
    return min(survivors, 1)


def _failing_test(mutation: Mutation) -> str:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "influence_store")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "influence_store", package, ignore=ignored)
        file = package / mutation.file
        file.write_text(mutation.applied(file.read_text()))
        # Safe path: the current folder, where the unchanged package lies, must not come first.
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "pytest", *mutation.tests, "-qx", "-p", "no:cacheprovider"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.name}: pytest could not run\n{done.stdout[-2000:]}")
    found = re.search(r"^(?:FAILED|ERROR) tests/(.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return found[1] if found else ""


def _with_body(source: str, name: str, body: str) -> str:
    """`source` with the statements of the function `name` (or `Class.name`) replaced."""
    found = [
        one
        for holder in ast.walk(ast.parse(source))
        if isinstance(holder, (ast.Module, ast.ClassDef))
        for one in holder.body
        if isinstance(one, ast.FunctionDef)
        and ".".join([*([holder.name] if isinstance(holder, ast.ClassDef) else []), one.name])
        == name
    ]
    if len(found) != 1:
        raise LookupError(f"there is no function {name}")
    lines = source.splitlines()
    first, last = found[0].body[0], found[0].body[-1]
    assert last.end_lineno is not None
    indent = " " * first.col_offset
    new = [indent + line for line in body.splitlines()]
    return "\n".join([*lines[: first.lineno - 1], *new, *lines[last.end_lineno :]]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
