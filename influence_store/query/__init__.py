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

from influence_store.errors import NotFound, UsageError
from influence_store.query.engine import Engine, EngineError, Limits
from influence_store.query.views import View, views

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from influence_store.store.store import Store


def query(
    store: Store,
    sql: str,
    params: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> pa.Table:
    """Run one SELECT and return its rows; see `engine` for where it runs and what may stop it.

    UsageError for anything but one SELECT, bad SQL or a limit reached. NotFound for an unknown
    view or column names the nearest ones and the command that fills it.
    """
    with Engine(limits or Limits()) as engine:
        engine.ask(sql)
        offered = views(store)
        words = {word.lower() for word in re.findall(r'"([^"]+)"|([\w]+)', sql) for word in word}
        try:
            engine.accepted()
            for name in [name for name in offered if name in words]:
                engine.send(name, _named(offered[name], sql, words))
            return engine.rows(params or {})
        except EngineError as error:
            raise _explained(error, offered, words) from error


def _named(view: View, sql: str, words: set[str]) -> pa.Table:
    """Those columns of a view that the statement can mean; never none, so that it has rows."""
    star = re.search(r"(?<!\()\s*\*(?!\s*\d)", sql) is not None
    named = [column for column in (*view.columns, *view.on_request) if column in words]
    wanted = list(dict.fromkeys([*(view.columns if star else []), *named]))
    return view.build(wanted or view.columns[:1])


def _explained(error: EngineError, offered: Mapping[str, View], words: set[str]) -> Exception:
    text = _first_lines(error)
    if error.name == "NotOneSelect":
        return UsageError(
            "query takes exactly one SELECT; the store is read-only here",
            hint='for example: influence-store query "select count(*) from samples"',
        )
    if view := re.search(r"Table with name (\S+) does not exist", text):
        hint = "see: influence-store status"
        return NotFound.named("view", view.group(1), [*offered], hint=hint)
    if column := re.search(r'column "([^"]+)" not found', text):
        known = {c for name in offered if name in words for c in offered[name].columns}
        hint = "columns come from: influence-store label DATASET, or influence-store fill DATASET"
        return NotFound.named("column", column.group(1), known, hint=hint)
    told = "the SQL cannot be read" if error.name == "ParserException" else "the query failed"
    return UsageError(f"{told}: {text}")


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:300]
