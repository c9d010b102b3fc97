"""A second data version: only its new rows are computed, and nothing old is touched."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import NotFound

NEW, REMOVED, REPEATED = 25, 10, 15


@pytest.fixture
def counted(monkeypatch):
    """Counts every text that is really embedded."""
    texts = Counter()
    original = HashingEmbedder.encode

    def encode(self, batch):
        texts.update(batch)
        return original(self, batch)

    monkeypatch.setattr(HashingEmbedder, "encode", encode)
    return texts


@pytest.fixture
def second(stages, tmp_path, write_rows):
    """The store before version 2, and the command that brings it."""
    run = stages.copy_after("select", tmp_path / "store")
    more = write_rows(tmp_path / "more.jsonl", [*range(80, 80 + NEW), *range(REPEATED)])
    gone = write_rows(tmp_path / "gone.jsonl", range(40, 40 + REMOVED))
    return run, ["ingest", str(more), "--dataset", "demo", "--removed", str(gone)]


def counts(run):
    """What a run spent, but for the seconds, which differ each time."""
    return {name: n for name, n in run["cost"].items() if not name.endswith("seconds")}


def test_exactly_the_new_rows_are_embedded_and_filled(second, counted):
    run, command = second
    told = run.json(*command)
    assert told["plan"] == {"embeddings": NEW, "fills": NEW, "llm_passes": 0, "waiting": {}}
    assert counted.total() == len(counted) == NEW
    assert (told["rows"], told["new"], told["kept"], told["removed"], told["repeated"]) == (
        80 + NEW - REMOVED, NEW, 80 - REMOVED, REMOVED, REPEATED,
    )  # fmt: skip
    last = {one["verb"]: one for one in reversed(run.json("log")["runs"])}
    assert counts(last["embed"]) == {"embeddings": NEW}
    assert counts(last["fill"]) == {"fills": NEW}
    assert not any(one["cost"].get("llm_passes") for one in run.json("log")["runs"][:3])


def test_no_byte_of_the_first_version_is_rewritten(second):
    run, command = second
    before = run.blocks()
    run(*command)
    after = run.blocks()
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_old_rows_keep_their_values_and_the_old_version_its_rows(second):
    run, command = second
    before = run.json("query", "select sample_id, est_delift_l2 from demo order by 1")
    run(*command)
    assert run.json("query", 'select sample_id, est_delift_l2 from "demo@1" order by 1') == before
    now = {
        row["sample_id"]: row["est_delift_l2"]
        for row in run.json("query", "select sample_id, est_delift_l2 from demo")
    }
    assert len(now) == 80 + NEW - REMOVED
    assert all(value is not None for value in now.values())
    kept = {row["sample_id"]: row["est_delift_l2"] for row in before} | {}
    assert sum(now.get(key) == value for key, value in kept.items()) == 80 - REMOVED


def test_another_dataset_with_the_same_texts_costs_nothing(stages, tmp_path, write_rows, counted):
    run = stages.copy_after("select", tmp_path / "store")
    write_rows(tmp_path / "other.jsonl", range(20, 60))
    told = run.json("ingest", str(tmp_path / "other.jsonl"), "--dataset", "other")
    assert told["new_contents"] == 0
    assert run.json("embed", "other", "--embedder", "hashing:32")["computed"] == 0
    assert run.json("fill", "other")["filled"] == 0
    assert not counted


def test_an_embedder_is_known_by_the_name_that_status_tells(stages, tmp_path, write_rows):
    run = stages.copy_after("embed", tmp_path / "store")
    run("ingest", str(write_rows(tmp_path / "more.jsonl", range(75, 90))), "--dataset", "more")
    (name,) = {one["name"] for one in run.json("query", "select name from producers")}
    told = run.json("embed", "more", "--embedder", name)
    assert (told["embedder"], told["computed"], told["reused"]) == (name, 10, 5)
    with pytest.raises(NotFound, match="no embedder named 'hashing-33'"):
        run("embed", "more", "--embedder", "hashing-33")


def test_rows_removed_and_brought_back_are_known(second, counted):
    run, command = second
    run(*command)
    counted.clear()
    told = run.json("ingest", command[-1], "--dataset", "demo")
    assert told["new"] == REMOVED
    assert told["plan"]["embeddings"] == told["plan"]["fills"] == 0
    assert not counted


def test_removing_rows_by_id_and_reporting_strangers(stages, tmp_path):
    run = stages.copy_after("ingest", tmp_path / "store")
    ids = [row["sample_id"] for row in run.json("query", "select sample_id from demo limit 3")]
    stranger = "0" * 32
    (tmp_path / "gone.txt").write_text("\n".join([*ids, stranger]) + "\n")
    told = run.json("ingest", "--dataset", "demo", "--removed", str(tmp_path / "gone.txt"))
    assert (told["removed"], told["removed_unknown"], told["rows"]) == (3, 1, 77)


def test_a_snapshot_replaces_the_rows(stages, tmp_path, write_rows):
    run = stages.copy_after("ingest", tmp_path / "store")
    write_rows(tmp_path / "all.jsonl", range(70, 90))
    told = run.json("ingest", str(tmp_path / "all.jsonl"), "--dataset", "demo", "--snapshot")
    assert (told["rows"], told["new"], told["kept"], told["removed"]) == (20, 10, 10, 70)


def test_an_unreadable_row_stops_everything_or_is_set_aside(stages, tmp_path, write_rows):
    run = stages.copy_after("ingest", tmp_path / "store")
    path = write_rows(tmp_path / "bad.jsonl", range(100, 103))
    path.write_text(path.read_text() + '{"instruction": "no answer", "output": " "}\n')
    with pytest.raises(Exception, match=r"bad\.jsonl:4"):
        run("ingest", str(path), "--dataset", "demo")
    assert run.json("query", "select count(*) n from demo") == [{"n": 80}]
    rejects = tmp_path / "rejects.jsonl"
    told = run.json("ingest", str(path), "--dataset", "demo", "--on-error", "skip",
                    "--rejects", str(rejects))  # fmt: skip
    assert (told["new"], told["rejected"]) == (3, 1)
    assert json.loads(rejects.read_text().splitlines()[0])["instruction"] == "no answer"
