"""Read-only SQL over the store: one view per dataset and version, estimates as named columns.

    demo, "demo@1"       one version: sample_id, prompt, response, …; numbers inf_<output> and
                         est_<name>; vectors, if named, emb_<name> and vec_<name>
    samples              every distinct content of the store
    points               measured values: sample_id, method, output, value, n_tokens, truncated
    pairs                the same of pairs: source_id, target_id, method, output, value
    producers            what made each column: name, kind, higher_means, facts
    selections, selection_items, estimators, runs, datasets

`standardised(x, g)` is x minus its mean within group g, by its deviation there.

Only what a statement names is read: text columns when named, vectors only by their own name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb

from influence_store.errors import NotFound, UsageError
from influence_store.query.views import View, views

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from influence_store.store.store import Store

_LOCKED = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "enable_external_access": False,
    "lock_configuration": True,
}
# Class- or dataset-normalised scores (VoG) are a matter of reading: a fact is stored raw.
_STANDARDISED = """
create macro standardised(x, g) as
    (x - avg(x) over (partition by g)) / nullif(stddev_pop(x) over (partition by g), 0)
"""


def query(store: Store, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Run one SELECT and return its rows. UsageError for anything but one SELECT or bad SQL.

    NotFound for an unknown view or column names the nearest ones and the command that fills it.
    """
    _one_select(sql)
    offered = views(store)
    words = {word.lower() for word in re.findall(r'"([^"]+)"|([\w]+)', sql) for word in word}
    star = re.search(r"(?<!\()\s*\*(?!\s*\d)", sql) is not None
    connection = duckdb.connect(":memory:")
    try:
        for name, view in offered.items():
            if name not in words:
                continue
            named = [column for column in (*view.columns, *view.on_request) if column in words]
            wanted = list(dict.fromkeys([*(view.columns if star else []), *named]))
            connection.register(name, view.build(wanted or view.columns[:1]))
        connection.execute(_STANDARDISED)
        for setting, value in _LOCKED.items():
            connection.execute(f"SET {setting}={str(value).lower()}")  # our constants, not input
        return connection.sql(sql, params=dict(params or {})).to_arrow_table()
    except duckdb.Error as error:
        raise _explained(error, offered, words) from error
    finally:
        connection.close()


def _one_select(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"the SQL cannot be read: {_first_lines(error)}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(
            "query takes exactly one SELECT; the store is read-only here",
            hint='for example: influence-store query "select count(*) from samples"',
        )


def _explained(error: duckdb.Error, offered: Mapping[str, View], words: set[str]) -> Exception:
    text = _first_lines(error)
    if view := re.search(r"Table with name (\S+) does not exist", text):
        hint = "see: influence-store status"
        return NotFound.named("view", view.group(1), [*offered], hint=hint)
    if column := re.search(r'column "([^"]+)" not found', text):
        known = {c for name in offered if name in words for c in offered[name].columns}
        hint = "columns come from: influence-store label DATASET, or influence-store fill DATASET"
        return NotFound.named("column", column.group(1), known, hint=hint)
    return UsageError(f"the query failed: {text}")


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:300]
