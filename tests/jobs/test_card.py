"""`card` tells what `train` told, to whoever opens the store, and what was found out since."""

from __future__ import annotations

import json

import polars as pl
import pytest
from manifest import MANIFEST
from test_drift_job import ALIEN, write_alien

from influence_store.network.card import AccuracyCard
from influence_store.network.score_card import ScoreCard


def stored(card):
    return json.loads(json.dumps(card.facts()))


def test_the_card_of_train_is_told_again_word_for_word(stages, tmp_path):
    run = stages.copy_after("label", tmp_path / "store")
    told = run("train", "demo", "--name", "first").splitlines()
    again = run("card", "first").splitlines()
    start = next(k for k, line in enumerate(told) if "→" in line)
    assert [line for line in told[start:] if line in again] == [
        line for line in told[start:] if "feature" not in line
    ]
    facts = run.json("card")
    assert (facts["name"], facts["method"], facts["trained_on"]) == ("first", "delift", "demo@1")
    assert (facts["filled"], facts["transfers"], facts["drift"]) == ({}, [], [])
    assert again[-1] == "  filled: nothing yet"
    assert stored(AccuracyCard.of(facts["card"])) == facts["card"]
    assert AccuracyCard.of(facts["card"]).verdict == facts["verdict"]


def test_rows_filled_and_drift_are_told(stages, tmp_path):
    run = stages.copy_after("fill", tmp_path / "store")
    run("ingest", str(write_alien(tmp_path / "alien.jsonl", range(ALIEN))), "--dataset", "demo")
    facts = run.json("card", "delift-l2")
    assert facts["filled"] == {"demo@2": 80 + ALIEN}
    assert [(one["dataset"], one["rows"]) for one in facts["drift"]] == [("demo@2", ALIEN)]
    told = run("card")
    assert f"of the {ALIEN} rows new in demo@2 are unlike" in told
    assert f"filled: {80 + ALIEN} rows of demo@2" in told


def test_a_card_of_scores_is_told_again(stages, tmp_path):
    run = stages.copy_after("embed", tmp_path / "store")
    rows = run.json("query", "select sample_id from demo order by line")
    values = [float(k % 9) for k in range(len(rows))]
    frame = pl.DataFrame({"sample_id": [row["sample_id"] for row in rows], "value": values})
    frame.write_parquet(tmp_path / "scores.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({**MANIFEST, "kind": "pointwise"}))
    run("import", str(tmp_path / "scores.parquet"), "--format", "parquet")
    told = run("train", "demo", "--method", "foreign", "--network", "mean", "--network", "length")
    facts = run.json("card")
    card = ScoreCard.of(facts["card"])
    assert stored(card) == facts["card"]
    assert all(f"  {line}" in told for line in card.lines())
    assert all(f"  {line}" in run("card") for line in card.lines())


def test_without_an_estimator_the_next_command_is_said(stages, tmp_path):
    run = stages.copy_after("embed", tmp_path / "store")
    with pytest.raises(Exception, match="there is no estimator yet"):
        run("card")
