"""No SQL is pasted together: what is not a constant is bound, or named here with a reason."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import influence_store

#: Keywords whose value an engine parses, whoever is called.
CONDITIONS = {
    "filter",
    "where",
    "condition",
    "predicate",
    "sqlite_where",
    "postgresql_where",
    "server_default",
}
#: Calls whose first argument an engine parses: SQLAlchemy's, Lance's, DuckDB's and the DB-API's.
ENGINES = {
    "text",
    "exec_driver_sql",
    "execute",
    "executemany",
    "executescript",
    "where",
    "filter",
    "delete",
    "count_rows",
    "sql",
    "literal_column",
    "DDL",
}
_TABLE = "a table of our own schema: identifiers cannot be bound"
#: File → what is pasted there → why it may be.
ALLOWED = {
    "query/child.py": {"f\"set memory_limit = '{int(memory)}B'\"": "a whole number"},
    "schema/migrations/versions/0003_teams.py": {
        "f'alter table {table} enable row level security'": _TABLE,
        "f'alter table {table} force row level security'": _TABLE,
        "f'create policy own_rows on {table} using (team = current_user) "
        "with check (team = current_user)'": _TABLE,
    },
    "store/database.py": {
        "f'select pg_advisory_xact_lock({_MIGRATION_LOCK})'": "our constant",
        "f'PRAGMA {pragma}'": "one of the constants in the line above",
    },
    "store/teams.py": {
        "f'alter table {table} no force row level security'": _TABLE,
        "f'alter table {table} force row level security'": _TABLE,
        "f'grant {right} on {what} to {named(role)}'": "constants, and a role checked and quoted",
        "f'select {expression}'": "a constant of the callers in this file",
    },
}


def pasted(source: str) -> list[str]:
    """Every expression that an engine would parse and that is put together from parts."""
    tree = ast.parse(source)
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(getattr(node, "value", None), ast.expr):
                assigned.setdefault(target.id, []).append(node.value)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    parsed = [part for call in calls for part in _parsed_by_an_engine(call)]
    return [ast.unparse(found) for part in parsed for found in _parts(part, assigned, set())]


def _parsed_by_an_engine(call: ast.Call) -> list[ast.expr]:
    called = call.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    positional = call.args if name in ENGINES else []
    return [*positional, *[key.value for key in call.keywords if key.arg in CONDITIONS]]


def _parts(node: ast.expr, assigned: dict[str, list[ast.expr]], seen: set[str]) -> list[ast.expr]:
    """What `node` may be that is pasted: also through names, `if` and `or`."""
    if isinstance(node, ast.Name):
        if node.id in seen:
            return []
        reached = assigned.get(node.id, [])
        return [found for one in reached for found in _parts(one, assigned, {*seen, node.id})]
    if _is_pasted(node):
        return [node]
    if isinstance(node, ast.IfExp | ast.BoolOp):
        inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]
        return [found for one in inner for found in _parts(one, assigned, seen)]
    return []


def _is_pasted(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return any(_is_text(side) or _is_pasted(side) for side in (node.left, node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        on = node.func.value
        return node.func.attr in ("format", "format_map") or (
            node.func.attr in ("join", "replace") and (_is_text(on) or _is_pasted(on))
        )
    return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.fixture(scope="module")
def found() -> set[tuple[str, str]]:
    """(file, expression), over the whole package and the folders it links to."""
    root = Path(influence_store.__file__).parent
    files = [
        Path(folder, name)
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.endswith(".py")
    ]
    assert len(files) > 100
    return {
        (path.relative_to(root).as_posix(), expression)
        for path in files
        for expression in pasted(path.read_text())
    }


def allowed() -> set[tuple[str, str]]:
    return {(file, expression) for file, reasons in ALLOWED.items() for expression in reasons}


def test_no_value_is_pasted_into_what_an_engine_parses(found):
    assert found - allowed() == set()


def test_every_exception_still_exists(found):
    assert allowed() - found == set()


@pytest.mark.parametrize(
    "source",
    [
        "table.search(q).where(f'team = {x}')",
        "table.delete('team = ' + x)",
        "dataset.to_table(filter='a = %s' % x)",
        "dataset.scanner(filter='a = {}'.format(x))",
        "dataset.count_rows(filter=' and '.join(parts))",
        "connection.execute(text(f'drop table {x}'))",
        "connection.exec_driver_sql('select ' + x)",
        "wanted = f'a = {x}'\nnearest(query, condition=wanted)",
        "update(predicate=f'a = {x}' if x else None)",
        "sql = 'a'\nsql += x\nsql2 = 'b' + sql\ncursor.execute(sql2)",
        "scan(filter=x and f'a = {x}')",
        "Index('a', sqlite_where=text('state = ' + x))",
    ],
)
def test_pasting_is_seen(source):
    assert pasted(source)


@pytest.mark.parametrize(
    "source",
    [
        "table.search(q).where('measured')",
        "dataset.to_table(filter=condition or None)",
        "select(Run).where(Run.state == state, Run.n + 1 > n)",
        "frame.filter(pl.col('source') == source)",
        "connection.execute(text('select :a'), {'a': f'{x}'})",
        "np.where(x > 0, x + 1, 0)",
        "storage.delete([f'tmp/{name}'])",
        "raise UsageError(f'no {x}')",
    ],
)
def test_binding_and_expressions_are_not_pasting(source):
    assert pasted(source) == []
