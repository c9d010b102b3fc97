"""Read-only SQL: what it offers, what it reads, and what it refuses."""

from __future__ import annotations

import json

import pytest

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import NotFound, UsageError
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.query import query
from influence_store.query.engine import Limits
from influence_store.store import grid
from influence_store.store.store import Store
from influence_store.version import __version__


@pytest.fixture(scope="module")
def filled(backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    uri, database = backend.new(folder / "store")
    store, _ = Store.init(uri, __version__, database)
    rows = folder / "rows.jsonl"
    texts = [
        {"instruction": f"Say {word}", "output": word, "topic": word[0]}
        for word in ("yes", "no", "maybe", "perhaps")
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts))
    ingest(store, [str(rows)], "words")
    embed(store, store.version("words"), HashingEmbedder(8), "hashing:8")
    yield store
    store.database.close()


def rows(store, sql, **params):
    return query(store, sql, params).to_pylist()


def test_a_dataset_is_a_view_with_where_its_rows_came_from(filled):
    (row,) = rows(filled, "select prompt, response, line, extra, file from words where line = 3")
    assert (row["prompt"], row["response"], row["line"]) == ("Say maybe", "maybe", 3)
    assert json.loads(row["extra"]) == {"topic": "m"}
    assert row["file"].endswith("rows.jsonl")


def test_latest_and_numbered_views_agree(filled):
    assert rows(filled, "select * from words") == rows(filled, 'select * from "words@1"')


def test_parameters_are_bound_not_pasted(filled):
    hostile = "yes' or '1'='1"
    assert rows(filled, "select * from words where response = $text", text=hostile) == []
    assert len(rows(filled, "select * from words where response = $text", text="yes")) == 1


def test_only_what_is_named_is_read(filled, monkeypatch):
    read = set()
    original = grid.scan

    def scan(root, blocks, columns, sids=None):
        read.update(columns)
        return original(root, blocks, columns, sids)

    monkeypatch.setattr(grid, "scan", scan)
    assert rows(filled, "select count(*) n from words where prompt_chars > 7") == [{"n": 2}]
    assert read == {"sid", "prompt_chars"}


def test_vectors_come_only_by_their_own_name(filled):
    assert "emb_hashing_8" not in rows(filled, "select * from words")[0]
    (row,) = rows(filled, "select emb_hashing_8 from words limit 1")
    assert sum(value**2 for value in row["emb_hashing_8"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "sql",
    [
        "drop view words",
        "create table x as select 1",
        "copy words to 'out.csv'",
        "select 1; select 2",
        "pragma database_list",
        "selec 1",
        "",
    ],
)
def test_anything_but_one_select_is_refused(filled, sql):
    with pytest.raises(UsageError):
        query(filled, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from 'https://example.org/x.parquet'",
        "select * from filled",
    ],
)
def test_a_select_cannot_leave_the_store(filled, sql):
    with pytest.raises((UsageError, NotFound)):
        query(filled, sql)


def test_unknown_names_come_with_the_nearest_and_the_next_command(filled):
    with pytest.raises(NotFound, match=r"no view named 'word'; did you mean words"):
        query(filled, "select * from word")
    told = r"(?s)'reponse'; did you mean response.*influence-store fill"
    with pytest.raises(NotFound, match=told):
        query(filled, "select reponse from words")


def test_views_of_an_empty_store_are_there_and_empty(store):
    for view in ("samples", "pairs", "selections", "selection_items", "estimators", "datasets"):
        assert rows(store, f"select count(*) n from {view}") == [{"n": 0}]


def test_a_string_that_looks_like_a_view_is_harmless(filled):
    assert rows(filled, "select 'pairs' as x, count(*) n from words") == [{"x": "pairs", "n": 4}]


def test_bad_sql_is_told_with_the_words_of_the_engine(filled):
    with pytest.raises(UsageError, match=r"the SQL cannot be read: Parser Error: .*selec"):
        query(filled, "selec 1")
    with pytest.raises(UsageError, match=r"the query failed: Conversion Error: .*'yes'"):
        query(filled, "select response::int from words where response = 'yes'")


def test_an_endless_query_ends_at_its_limit_and_says_what_to_do(filled):
    endless = "select count(*) from range(1e13::bigint) where random() < 2"
    with pytest.raises(UsageError, match=r"(?s)stopped after 1 s.*--timeout 10"):
        query(filled, endless, limits=Limits(seconds=1))


def test_columns_of_one_name_in_a_join_can_be_told_apart(filled):
    joined = 'select * from words join "words@1" using (sample_id)'
    names = query(filled, joined).column_names
    assert len(names) == len(set(names))
    assert {"sample_id", "file", "file_1", "extra", "extra_1"} <= {*names}
    (row,) = rows(filled, "select 1 a, 2 a_1, 3 a, 4 a")
    assert row == {"a": 1, "a_1": 2, "a_2": 3, "a_3": 4}


@pytest.mark.parametrize("sql", ["show tables", " SHOW ALL TABLES; "])
def test_the_views_can_be_listed(filled, sql):
    names = {row["name"] for row in rows(filled, sql)}
    assert {"words", "words@1", "samples", "pairs", "selections"} <= names


@pytest.mark.parametrize("sql", ["select * from words@1", "select 1 from words@7 where line > 1"])
def test_a_version_without_quotes_is_answered_with_the_quotes(filled, sql):
    with pytest.raises(UsageError, match=r'in double quotes: query \'select … from "words@\d"'):
        query(filled, sql)


def test_a_parameter_without_a_value_is_told_with_the_option(filled):
    with pytest.raises(UsageError, match=r"^\$w of the statement has no value\n  add: --param w="):
        query(filled, "select * from words where response = $w")


def test_an_at_sign_in_a_text_is_no_version(filled):
    with pytest.raises(UsageError, match="cannot be read") as caught:
        query(filled, "select * form words where prompt like 'a@b'")
    assert caught.value.hint == ""
