from __future__ import annotations

import doctest
import json

import pytest

import influence_store
from influence_store import api
from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import NotFound, UsageError
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.query.engine import Limits
from influence_store.schema.catalog import Selection


def test_a_store_is_opened_asked_and_closed(store, tmp_path):
    rows = [{"question": f"{k}?", "answer": f"{k}!"} for k in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(tmp_path / "rows.jsonl")], "asked")
    with influence_store.open(store.uri) as opened:
        assert opened.datasets() == {"asked@1": 3}
        found = opened.query("select prompt from asked where response = $told", told="2!")
        assert found["prompt"].to_list() == ["2?"]


def test_an_interactive_shell_shows_what_there_is(store):
    assert {"open", "__version__"} <= {*dir(influence_store)}
    assert "annotations" not in dir(influence_store)
    assert repr(api.InfluenceStore(store)) == f"InfluenceStore({store.uri!r})"


def test_opening_what_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(NotFound, match="init"):
        influence_store.open(tmp_path / "none")


@pytest.fixture
def asked(store, tmp_path):
    """A store of three questions, open."""
    told = {"Capital of France?": "Paris", "1 + 1?": "2", "2 + 2?": "4"}
    rows = [{"question": question, "answer": answer} for question, answer in told.items()]
    (tmp_path / "demo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(tmp_path / "demo.jsonl")], "demo")
    with influence_store.open(store.uri) as opened:
        yield opened


def test_the_examples_in_the_code_are_true(asked):
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    found = [one for one in finder.find(api, globs={"store": asked}) if one.examples]
    assert len(found) == 2
    assert [runner.run(one).failed for one in found] == [0, 0]


def test_a_relation_is_read_in_many_forms_and_never_changed(asked):
    rows = asked.view("demo@1").select("prompt", "response")
    short = rows.where("prompt_chars < 10").order_by("prompt desc").limit(1)
    assert short.arrow().to_pylist() == [{"prompt": "2 + 2?", "response": "4"}]
    assert short.polars().rows() == [("2 + 2?", "4")]
    assert rows.count() == 3
    ordered = rows.order_by("prompt").limit(1, skip=1)
    assert ordered.polars()["prompt"].to_list() == ["2 + 2?"]
    with pytest.raises(UsageError, match="memory"):
        rows.within(Limits(memory=1)).polars()
    assert rows.where("response = $a", a="2").where("prompt = $b", b="1 + 1?").count() == 1


def test_a_relation_in_the_forms_of_other_libraries(asked):
    pytest.importorskip("datasets", reason="the trainers extra is not installed")
    rows = asked.view("demo").select("prompt").order_by("prompt")
    assert rows.pandas()["prompt"].tolist() == ["1 + 1?", "2 + 2?", "Capital of France?"]
    assert rows.to_dataset()["prompt"][:] == ["1 + 1?", "2 + 2?", "Capital of France?"]


def test_a_name_that_is_bound_twice_is_refused(asked):
    rows = asked.view("demo").where("prompt = $a", a="x")
    with pytest.raises(UsageError, match=r"\$a is 'x' in an earlier condition and 'y' here"):
        rows.where("response = $a", a="y")


def test_a_condition_cannot_leave_its_place(asked):
    with pytest.raises(UsageError):
        asked.view("demo").where("true) union (select 1").polars()
    with pytest.raises(NotFound, match="no view named"):
        asked.view('demo" where false --').count()


def test_a_slip_is_told_where_it_is_made_not_where_it_is_read(asked):
    with pytest.raises(NotFound, match="no view named 'demmo'; did you mean demo"):
        asked.view("demmo")
    for part in ({"size": -1}, {"size": 1, "skip": -1}):
        with pytest.raises(UsageError, match="both are 0 or more"):
            asked.view("demo").limit(**part)
    assert asked.view("demo").limit(0).count() == 0


def test_a_closed_store_answers_no_more(asked):
    rows = asked.view("demo")
    asked.close()
    for ask in (rows.count, asked.datasets, lambda: asked.query("select 1")):
        with pytest.raises(UsageError, match="this store was closed"):
            ask()
    asked.close()


def test_a_selection_is_found_by_the_beginning_of_its_id_if_it_alone_has_it(asked, store):
    embed(store, store.version("demo"), HashingEmbedder(16), "hashing:16")
    choose(store, "demo", Asked("2", objective="k-center"), {})
    (identity,) = asked.query("select id from selections")["id"]
    rows = asked.selected(identity[:4].upper()).select("rank", "prompt").polars()
    assert rows["rank"].to_list() == [1, 2]

    def twin(session):
        row = session.get_one(Selection, identity).model_dump()
        session.add(Selection(**{**row, "id": f"{identity[:-1]}~"}))

    store.database.write(twin)
    with pytest.raises(UsageError, match=rf"2 selections begin with '{identity[:4]}'"):
        asked.selected(identity[:4]).count()
    assert asked.selected(identity).count() == 2
