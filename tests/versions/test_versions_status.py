"""What `status` and `log` say of tags, holders, many blocks and what waits for gc."""

from __future__ import annotations

import pytest

from influence_store.jobs import status as module
from influence_store.jobs.compact import compact
from influence_store.jobs.log import log
from influence_store.jobs.status import status
from influence_store.jobs.tag import tag
from influence_store.schema.catalog import Run


def test_tags_are_listed_with_their_versions(three):
    store = three.store
    tag(store, store.version("demo@1"), "paper")
    tag(store, store.version("demo@3"), "best")
    (dataset,) = status(store).datasets
    assert dataset["tags"] == [{"name": "paper", "version": 1}, {"name": "best", "version": 3}]
    assert "    tags: paper = @1, best = @3" in status(store).lines()


def test_who_holds_what_since_when_and_for_how_long(three):
    store = three.store
    with store.claim("embed", "embed:abc:demo", {"dataset": "demo@3"}) as run:

        def silent(session):
            row = session.get_one(Run, run.id)
            row.started_at, row.lease_until = row.started_at - 100, row.lease_until - 20

        store.database.write(silent)
        report = status(store)
    (held,) = report.working
    assert (held["verb"], held["scope"]) == ("embed", "embed:abc:demo")
    assert held["seconds"] == pytest.approx(100, abs=5)
    assert held["heartbeat_seconds_ago"] == pytest.approx(20, abs=5)
    assert held["lease_seconds_left"] == pytest.approx(40, abs=5)
    (line,) = (line for line in report.lines() if line.startswith("at work"))
    assert "embed holds embed:abc:demo" in line


def test_many_blocks_are_told_with_the_command_that_merges_them(three, monkeypatch):
    monkeypatch.setattr(module, "MANY_BLOCKS", 2)
    store = three.store
    before = status(store)
    assert {(one["kind"], one["name"], one["blocks"]) for one in before.scattered} == {
        ("samples", "", 3), ("rows", "demo", 3), ("embedding", "hashing-16", 3),
    }  # fmt: skip
    assert "rows demo lies in 3 blocks; run: influence-store compact" in before.lines()
    assert (before.retired_blocks, before.retired_bytes) == (0, 0)
    compact(store)
    after = status(store)
    assert (after.scattered, after.blocks, after.retired_blocks) == ([], 3, 9)
    assert after.retired_bytes > 9_000


def test_the_log_can_be_asked_for_a_verb_a_dataset_and_a_state(three):
    store = three.store
    three.add([1], "demo2", embedded=False)
    with pytest.raises(KeyError), store.claim("embed", "embed:x:demo", {"dataset": "demo@3"}):
        raise KeyError

    def told(**asked):
        return [(run["verb"], run["state"]) for run in log(store, 50, **asked).runs]

    assert set(told(verb="ingest")) == {("ingest", "committed")}
    assert len(told(verb="ingest")) == 4
    assert told(state="failed") == [("embed", "failed")]
    assert len(told(dataset="demo")) == 7
    assert told(dataset="demo2") == [("ingest", "committed")]
    assert len(told(dataset="demo", verb="embed", state="committed")) == 3
    assert told(dataset="dem_") == []
