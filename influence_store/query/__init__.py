"""Read-only SQL over the store: one view per dataset and version, estimates as named columns.

    demo, "demo@1"       one version: sample_id, prompt, response, …; numbers inf_<output> and
                         est_<name>; vectors, if named, emb_<name> and vec_<name>
    samples              every distinct content of the store
    points               measured values: sample_id, method, output, value, n_tokens, truncated
    pairs                the same of pairs: source_id, target_id, method, output, value
    producers            what made each column: name, kind, higher_means, facts
    selections, selection_items, estimators, runs, datasets
    selected('ID')       a selection's items: rank, gain and the columns of its dataset

`standardised(x, g)` is x minus its mean within group g, by its deviation there.

Only what a statement names is read: text columns when named, vectors only by their own name; and
what it only hands on, neither compared nor computed with, for the rows of its answer alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from pyroaring import BitMap

from influence_store.query.engine import Engine, EngineError, Limits
from influence_store.query.late import read_later, with_later
from influence_store.query.statement import Statement
from influence_store.query.told import explained
from influence_store.query.views import View, selected_view, views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.store.store import Store

_SHOW_TABLES = re.compile(r"\s*show\s+(all\s+)?tables\s*;?\s*", re.IGNORECASE)


def query(
    store: Store,
    sql: str,
    params: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> pa.Table:
    """Run one SELECT and return its rows; see `engine` for where it runs and what may stop it.

    UsageError for anything but one SELECT, bad SQL or a limit reached. NotFound for an unknown
    view or column names the nearest ones and the command that fills it. `show tables` is answered
    with the names of all views. Of columns with one name the later ones get a number: `file_1`.
    """
    if _SHOW_TABLES.fullmatch(sql):  # the engine knows only views that the statement names
        return pa.table({"name": sorted(views(store))})
    bound = dict(params or {})
    with Engine(limits or Limits()) as engine:
        engine.ask(sql)
        offered = views(store)
        words = {word.lower() for word in re.findall(r'"([^"]+)"|([\w]+)', sql) for word in word}
        chosen: dict[str, str] = {}
        try:
            statement = Statement(engine.accepted())
            chosen = {f"selected:{one}": one for one in statement.selections(bound)}
            offered |= {name: selected_view(store, one) for name, one in chosen.items()}
            sids = _only(store, statement.only_ids(bound))
            for name in [name for name in offered if name in words or name in chosen]:
                engine.send(name, _table(offered[name], name, statement, words, sids))
            answer = engine.rows(bound)
        except EngineError as error:
            raise explained(error, offered, words | {*chosen}, sql) from error
        found = read_later(answer, lambda name, *of: offered[name].build(*of), engine.hold)
        return found.rename_columns(_distinct(found.column_names))


def _distinct(names: list[str]) -> list[str]:
    """`a, a` as `a, a_1`: a join has columns of one name, and a data frame may not."""
    told: list[str] = []
    for name in names:
        ways = (name, *(f"{name}_{k}" for k in range(1, len(names))))
        told.append(
            next(one for one in ways if one not in told and (one == name or one not in names))
        )
    return told


def _only(store: Store, ids: list[str] | None) -> BitMap | None:
    """The sids of these sample ids; None where the statement asks for more than some ids."""
    if ids is None:
        return None
    wanted = {bytes.fromhex(one) for one in ids if re.fullmatch("([0-9a-f]{2})+", one)}
    known = store.sample_ids().filter(pl.col("sample_id").is_in(list(wanted)))
    return BitMap(known["sid"].to_list())


def _table(
    view: View, name: str, statement: Statement, words: set[str], sids: BitMap | None
) -> pa.Table:
    """Those columns of a view that the statement can mean; never none, so that it has rows."""
    named = [column for column in (*view.columns, *view.on_request) if column in words]
    all_of_it = view.columns if statement.takes_all else []
    wanted = list(dict.fromkeys([*all_of_it, *named])) or view.columns[:1]
    if not view.by_sid:
        return view.build(wanted, None)
    passed_on = statement.passed_on()
    now = [one for one in (*all_of_it, *named) if one not in passed_on]
    table = view.build(["sid", *dict.fromkeys(now)], sids)
    return with_later(table, table["sid"], name, wanted)
