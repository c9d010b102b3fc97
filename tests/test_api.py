from __future__ import annotations

import json

import pytest

import influence_store
from influence_store.errors import NotFound
from influence_store.jobs.ingest import ingest


def test_a_store_is_opened_asked_and_closed(store, tmp_path):
    rows = [{"question": f"{k}?", "answer": f"{k}!"} for k in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(tmp_path / "rows.jsonl")], "asked")
    with influence_store.open(store.uri) as opened:
        assert opened.datasets() == {"asked@1": 3}
        found = opened.query("select prompt from asked where response = $told", told="2!")
        assert found["prompt"].to_list() == ["2?"]


def test_opening_what_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(NotFound, match="init"):
        influence_store.open(tmp_path / "none")
