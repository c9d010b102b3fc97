"""docs/query.md: its statements run, and the views and columns that it lists are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.ingest import ingest
from influence_store.query import query
from influence_store.query.views import views
from influence_store.schema import tables
from influence_store.store.store import Store
from influence_store.version import __version__

PAGE = (Path(__file__).parents[2] / "docs" / "query.md").read_text()
STATEMENTS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
N, PICKS = 40, 6


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A store with measured and estimated quality of `demo`, and a random selection of it."""
    folder = tmp_path_factory.mktemp("docs")
    store, _ = Store.init(folder / "store", __version__)
    rows = [{"instruction": f"Say {k}", "output": f"{k}", "topic": "ab"[k % 2]} for k in range(N)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(folder / "rows.jsonl")], "demo")
    sids = store.version("demo").sids
    values = np.random.default_rng(0).random(N)
    measured = [sids, values, np.ones(N, int), np.zeros(N, bool)]
    publish(store, "points", {"outputs": ["quality"]}, tables.points(["quality"]), measured)
    publish(store, "estimate", {}, tables.estimate(0), [sids, values.astype(np.float32)])
    chosen = choose(store, "demo", Asked(budget=str(PICKS), objective="random"), {}).id
    yield store, chosen
    store.database.close()


def publish(store, kind, facts, schema, columns):
    producer = store.producer(kind, "quality", facts)
    arrays = [pa.array(one, field.type) for one, field in zip(columns, schema, strict=True)]
    batch = pa.record_batch(arrays, schema=schema)
    with store.claim(kind, f"{kind}:demo", {}) as run:
        bits = BitMap(columns[0].tolist())
        run.publish([run.stage(kind, [batch], schema, bits, producer_id=producer.id)])


@pytest.fixture
def ask(demo, here):
    store, chosen = demo

    def answer(sql):
        known = query(store, "select sample_id from demo order by line limit 1").to_pylist()
        given = {"chosen": chosen[:8], "id": known[0]["sample_id"]}
        named = {name: value for name, value in given.items() if f"${name}" in sql}
        return query(store, sql, named)

    return answer


def test_there_are_ten_statements():
    assert len(STATEMENTS) == 10


@pytest.mark.parametrize("sql", STATEMENTS)
def test_every_statement_of_the_page_runs(ask, sql):
    assert ask(sql).num_rows > 0 or "estimators" in sql


def test_the_page_names_every_view(demo):
    store, _ = demo
    assert [name for name in views(store) if f"`{name}`" not in PAGE and '"' not in name] == [
        "demo@1"
    ]


def test_a_selection_has_its_ranks_gains_and_the_columns_of_its_dataset(ask, demo):
    _, chosen = demo
    sql = f"from selected('{chosen}') select rank, sample_id, inf_quality, prompt order by rank"
    items = ask("select * from selection_items").to_pylist()
    rows = {row["sample_id"]: row for row in ask("select * from demo").to_pylist()}
    expected = [
        (one["rank"], rows[one["sample_id"]]["inf_quality"], rows[one["sample_id"]]["prompt"])
        for one in items
    ]
    got = ask(sql).to_pylist()
    assert [(one["rank"], one["inf_quality"], one["prompt"]) for one in got] == expected
    assert [one["rank"] for one in got] == list(range(1, PICKS + 1))


def test_two_selections_are_two_tables(ask, demo):
    store, first = demo
    second = choose(store, "demo", Asked(budget="5", objective="random", seed=1), {}).id
    sql = "select (select count(*) from selected('{}')) a, (select count(*) from selected('{}')) b"
    assert ask(sql.format(first, second)).to_pylist() == [{"a": PICKS, "b": 5}]


def test_a_selection_that_does_not_exist_is_told_with_those_that_do(ask):
    with pytest.raises(NotFound, match=r"(?s)no selection named 'zz'; known: .*from selections"):
        ask("from selected('zz')")
    with pytest.raises(UsageError, match="selected"):
        ask("from selected(lower('zz'))")


@pytest.mark.parametrize(
    ("column", "command"),
    [("inf_qualty", "label DATASET"), ("est_qualty", "fill DATASET"), ("emb_x", "embed DATASET")],
)
def test_an_unknown_influence_column_names_the_command_that_fills_such(ask, column, command):
    with pytest.raises(
        NotFound, match=rf"(?s)no column named '{column}'.*influence-store {command}"
    ):
        ask(f"select {column} from demo")
    with pytest.raises(NotFound, match=f"no column named '{column}'"):
        ask(f"select d.{column} from demo d")
