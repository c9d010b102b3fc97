"""Two runs at once: a content gets one sid, whoever publishes first."""

from __future__ import annotations

import pytest

from influence_store.jobs.ingest import ingest
from influence_store.store.runs import ActiveRun


@pytest.fixture
def overtaken(monkeypatch):
    """Runs something else in the middle of the first staging."""

    def arrange(other):
        original, pending = ActiveRun.stage, [other]

        def stage(self, *args, **kwargs):
            staged = original(self, *args, **kwargs)
            if pending:
                pending.pop()()
            return staged

        monkeypatch.setattr(ActiveRun, "stage", stage)

    return arrange


def test_a_content_that_two_ingests_bring_has_one_sid(store, tmp_path, write_rows, overtaken):
    ours = str(write_rows(tmp_path / "ours.jsonl", range(30)))
    theirs = str(write_rows(tmp_path / "theirs.jsonl", range(20, 50)))
    overtaken(lambda: ingest(store, [theirs], "theirs"))

    report = ingest(store, [ours], "ours")

    assert (report.rows, report.new_contents) == (30, 20)
    ids = store.sample_ids()
    assert ids.height == ids["sample_id"].n_unique() == 50
    shared = store.version("ours").bits & store.version("theirs").bits
    assert len(shared) == 10
    for name in ("ours", "theirs"):
        version = store.version(name)
        batches = store.scan(store.blocks("samples"), ["sid"], version.bits)
        assert sum(batch.num_rows for batch in batches) == 30


def test_the_loser_of_a_race_leaves_no_row_behind(store, tmp_path, write_rows, overtaken):
    path = str(write_rows(tmp_path / "same.jsonl", range(10)))
    overtaken(lambda: ingest(store, [path], "first"))
    report = ingest(store, [path], "second")
    assert (report.rows, report.new_contents) == (10, 0)
    assert sum(len(block.bits) for block in store.blocks("samples")) == 10
