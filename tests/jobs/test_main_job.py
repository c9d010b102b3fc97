"""The whole way, with a tiny LLM: what each verb leaves behind, and what a rerun costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from influence_store.errors import NotFound, UsageError
from influence_store.exporters import EXPORTERS


def test_every_verb_ran(stages, tmp_path):
    run = stages.copy_after("select", tmp_path / "store")
    status = run.json("status")
    (dataset,) = status["datasets"]
    assert dataset["rows"] == 80
    assert {column["kind"]: column["missing"] for column in dataset["columns"]} == {
        "embedding": 0,
        "estimate": 0,
    }
    assert status["estimators"] == status["selections"] == 1


@pytest.mark.parametrize("verb", ["ingest", "embed", "label", "fill", "select"])
def test_a_finished_verb_again_computes_nothing(stages, tmp_path, verb):
    run = stages.copy_after("select", tmp_path / "store")
    before = run.blocks()
    again = run.json(*stages.commands[verb])
    assert run.blocks() == before
    computed = {"ingest": "new", "embed": "computed", "label": "scored", "fill": "filled"}
    if verb in computed:
        assert again[computed[verb]] == 0
    else:
        assert again["reused"]


def test_influence_is_a_column_of_the_dataset(stages, tmp_path):
    run = stages.copy_after("fill", tmp_path / "store")
    rows = run.json("query", "select sample_id, est_delift_l2 from demo order by 2 desc")
    values = [row["est_delift_l2"] for row in rows]
    assert len(values) == 80
    assert values == sorted(values, reverse=True)


def test_teacher_values_are_rows_of_pairs(stages, tmp_path):
    run = stages.copy_after("label", tmp_path / "store")
    told = run.json(
        "query", "select output, count(*) n, max(abs(value)) most from pairs group by 1 order by 1"
    )
    assert [row["output"] for row in told] == ["delift-kl", "delift-l2"]
    assert told[1]["most"] <= 1.0
    assert run.json("query", "select * from pairs where source_id = target_id") == []


def test_selection_is_stored_with_its_order_and_baselines(stages, tmp_path):
    run = stages.copy_after("select", tmp_path / "store")
    again = run.json(*stages.commands["select"])
    items = run.json("query", "select * from selection_items order by rank")
    assert [row["rank"] for row in items] == list(range(1, 21))
    gains = [row["gain"] for row in items]
    assert gains == sorted(gains, reverse=True)
    assert again["baselines"]["random"]["draws"] == 20
    assert "cosine facility location" in again["baselines"]["references"]
    assert sum(gains) == pytest.approx(again["baselines"]["value"])


@pytest.mark.parametrize("form", ["jsonl", "trl"])
def test_export_leads_back_to_file_and_line(stages, tmp_path, form):
    run = stages.copy_after("select", tmp_path / "store")
    (selection,) = run.json("query", "select id from selections")
    run("export", selection["id"], "--to", form, "-o", str(tmp_path / "out"))
    written = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    origin = [
        json.loads(line)
        for line in (tmp_path / "out" / "provenance.jsonl").read_text().splitlines()
    ]
    assert len(written) == len(origin) == 20
    source = stages.commands["ingest"][1]
    lines = Path(source).read_text().splitlines()
    for row, fact in zip(written, origin, strict=True):
        assert fact["file"] == source
        ours, theirs = json.loads(row), json.loads(lines[fact["line"] - 1])
        if form == "jsonl":
            assert row == lines[fact["line"] - 1]
        else:
            assert ours["prompt"].strip() == theirs["instruction"]
            assert ours["completion"].strip() == theirs["output"]


def test_every_format_holds_every_row_and_brings_its_stanza(stages, tmp_path):
    run = stages.copy_after("select", tmp_path / "store")
    (selection,) = run.json("query", "select id from selections")
    for form in EXPORTERS.builtin:
        out = tmp_path / form
        told = run.json("export", selection["id"], "--to", form, "-o", str(out))
        assert (told["rows"], told["left_out"]) == (20, 0)
        assert (out / told["usage_file"]).read_text() == told["usage"]


def test_a_targeted_and_a_conditional_selection(stages, tmp_path, write_rows):
    run = stages.copy_after("fill", tmp_path / "store")
    write_rows(tmp_path / "t.jsonl", range(200, 212))
    run("ingest", str(tmp_path / "t.jsonl"), "--dataset", "goal")
    run("embed", "goal", "--embedder", "hashing:32")
    aimed = run.json("select", "demo", "--budget", "5", "--target", "goal", "--kernel", "cosine")
    added = run.json("select", "demo", "--budget", "5", "--given", "goal", "--kernel", "cosine")
    assert (aimed["objective"], added["objective"]) == ("flqmi", "flcg")
    assert aimed["id"] != added["id"]


def test_unknown_names_say_what_exists(stages, tmp_path):
    run = stages.copy_after("select", tmp_path / "store")
    with pytest.raises(NotFound, match="no dataset named 'dmeo'; did you mean demo"):
        run("fill", "dmeo")
    with pytest.raises(NotFound, match="only version 1, not 7"):
        run("fill", "demo@7")
    with pytest.raises(NotFound, match="no estimator named 'x'"):
        run("fill", "demo", "--estimator", "x")
    with pytest.raises(UsageError, match="say how much to label"):
        run("label", "demo", "--model", "m")
