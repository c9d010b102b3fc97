"""A new version far from what is labelled is told at `ingest`, with a command that mends it."""

from __future__ import annotations

import json
import random

import numpy as np
import polars as pl
import pytest
from manifest import MANIFEST

from influence_store.jobs import drift as module
from influence_store.jobs import drift_advice
from influence_store.jobs.drift import measure_drift
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.label_rows import row_order
from influence_store.jobs.learned import learned
from influence_store.jobs.train_report import TrainOptions
from influence_store.jobs.train_scores import train_scores
from influence_store.store.store import Store
from influence_store.version import __version__

ALIEN = 70
_STONES = ["quartz", "basalt", "gneiss", "schist", "marble", "slate", "shale", "chert", "tuff"]

IDENTITY = {**MANIFEST, "kind": "pointwise"}


def write_alien(path, rows, kinds=1):
    """Texts of other kinds: lists of stones, each kind with words of its own."""
    lines = []
    for k in rows:
        rng = random.Random(k)
        stones = " ".join(f"{stone}{k % kinds or ''}" for stone in rng.sample(_STONES, 5))
        lines.append(json.dumps({"instruction": f"Stones: {stones}", "output": f"{stones} {k}"}))
    path.write_text("\n".join(lines) + "\n")
    return path


def opened(run):
    return Store.open(run.root, __version__)


def drift_runs(run):
    return [one["result"] for one in run.json("log", "--limit", "100")["runs"]
            if one["verb"] == "drift"]  # fmt: skip


@pytest.fixture
def filled(stages, tmp_path):
    return stages.copy_after("fill", tmp_path / "store")


def test_rows_of_the_same_kind_are_no_drift_and_that_is_told(filled, tmp_path, write_rows):
    more = write_rows(tmp_path / "more.jsonl", range(80, 120))
    filled("ingest", str(more), "--dataset", "demo")
    (facts,) = drift_runs(filled)
    assert (facts["drift"], facts["rows"], facts["advice"]) == (False, 40, None)
    assert facts["reference_rows"] == "demo@1"


def test_rows_of_another_kind_are_told_with_a_budget_that_ends_the_drift(
    filled, tmp_path, tiny_llm
):
    alien = write_alien(tmp_path / "alien.jsonl", range(ALIEN))
    filled("ingest", str(alien), "--dataset", "demo")
    (facts,) = drift_runs(filled)
    assert (facts["drift"], facts["rows"]) == (True, ALIEN)
    assert facts["share"] > 0.5
    advice = facts["advice"]
    assert advice["unit"] == "pairs"
    assert 0 < advice["sources"] < ALIEN / 2
    filled("label", "demo", "--model", str(tiny_llm), "--pairs", str(advice["budget"]))
    filled("train", "demo", "--network", "cosine", "--name", "again")
    store = opened(filled)
    after = measure_drift(store, store.version("demo"), find_estimator(store, "again"))
    assert after is None or not after.drift.found
    store.database.close()


def test_training_again_without_a_new_label_does_not_end_the_drift(filled, tmp_path, monkeypatch):
    alien = write_alien(tmp_path / "alien.jsonl", range(ALIEN))
    filled("ingest", str(alien), "--dataset", "demo")
    filled("train", "demo@2", "--network", "cosine", "--name", "again")
    store = opened(filled)
    report = measure_drift(store, store.version("demo"), find_estimator(store, "again"))
    assert report.drift.found
    assert report.reference == "demo@1"
    told = "\n".join(report.lines())
    assert "drift: again was not taught on rows like the new ones" in told
    assert (
        f"influence-store label demo@2 --method delift --model M --pairs {report.advice.budget}"
        in told
    )
    monkeypatch.setattr(module, "ADVICE_ROWS", 20)
    few = measure_drift(store, store.version("demo"), find_estimator(store, "again"))
    assert few.advice.at_least
    assert f"at least {few.advice.sources} more labelled sources" in "\n".join(few.lines())
    store.database.close()


@pytest.mark.parametrize("sources", [100, 1])
def test_of_a_large_dataset_a_draw_stands_for_the_order_of_its_contents(
    filled, tmp_path, monkeypatch, sources
):
    """One source cannot end it: then the largest budget that was thought through is named."""
    filled("ingest", str(write_alien(tmp_path / "alien.jsonl", range(ALIEN))), "--dataset", "demo")
    monkeypatch.setattr(drift_advice, "SOURCES", sources)
    monkeypatch.setattr(drift_advice, "content_ids", None)
    store = opened(filled)
    assert len(store.version("demo").bits) == 150
    report = measure_drift(store, store.version("demo"), find_estimator(store, None))
    assert (report.advice.budget is None) == (sources == 1)
    assert report.advice.most == 150 * sources
    if sources == 1:
        assert "--pairs 150 would not be enough" in "\n".join(report.lines())
    store.database.close()


def test_labels_for_another_dataset_are_advised_for_that_one(
    stages, tmp_path, write_rows, tiny_llm
):
    run = stages.copy_after("embed", tmp_path / "store")
    run("ingest", str(write_rows(tmp_path / "goal.jsonl", range(200, 230))), "--dataset", "goal")
    run("embed", "goal", "--embedder", "hashing:32")
    aim = ("--targets", "goal")
    run("label", "demo", *aim, "--model", str(tiny_llm), "--pairs", "600")
    run("train", "demo", *aim, "--network", "cosine")
    run("fill", "demo")
    run("ingest", str(write_alien(tmp_path / "alien.jsonl", range(ALIEN))), "--dataset", "demo")
    (facts,) = drift_runs(run)
    assert facts["advice"]["targets"] == "goal@1"


def test_only_rows_that_arrived_now_are_judged_at_ingest(filled, tmp_path, write_rows):
    filled("ingest", str(write_alien(tmp_path / "a.jsonl", range(ALIEN))), "--dataset", "demo")
    filled("ingest", str(write_rows(tmp_path / "b.jsonl", range(80, 120))), "--dataset", "demo")
    newest, first = drift_runs(filled)
    assert (newest["rows"], newest["drift"]) == (40, False)
    assert (first["rows"], first["drift"]) == (ALIEN, True)
    store = opened(filled)
    whole = measure_drift(store, store.version("demo"), find_estimator(store, None))
    assert whole.drift.rows == ALIEN + 40
    store.database.close()


def test_no_new_row_is_nothing_to_judge(filled):
    store = opened(filled)
    assert measure_drift(store, store.version("demo"), find_estimator(store, None)) is None
    store.database.close()
    assert drift_runs(filled) == []


def test_status_keeps_telling_the_drift(filled, tmp_path, write_rows):
    filled("ingest", str(write_alien(tmp_path / "a.jsonl", range(ALIEN))), "--dataset", "demo")
    filled("ingest", str(write_rows(tmp_path / "b.jsonl", range(80, 120))), "--dataset", "demo")
    (dataset,) = filled.json("status")["datasets"]
    (one,) = dataset["drift"]
    assert (one["dataset"], one["estimator"]) == ("demo@2", "delift-l2")
    told = filled("status")
    assert "drift: delift-l2 was not taught on rows like those new in demo@2" in told


@pytest.mark.parametrize("labelled", [30, 80])
def test_scores_are_judged_by_the_rows_that_have_one(stages, tmp_path, labelled):
    """All rows labelled: then they are their own reference, each without itself."""
    run = stages.copy_after("embed", tmp_path / "store")
    ids = [
        row["sample_id"] for row in run.json("query", "select sample_id from demo order by line")
    ]
    values = np.random.default_rng(0).normal(size=labelled)
    frame = pl.DataFrame({"sample_id": ids[:labelled], "value": values})
    frame.write_parquet(tmp_path / "scores.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps(IDENTITY))
    run("import", str(tmp_path / "scores.parquet"), "--format", "parquet")
    store = opened(run)
    train_scores(store, store.version("demo"), "foreign", TrainOptions(networks=("mean", "length")))
    seed = learned(store, find_estimator(store, None))
    assert (len(seed.sources), seed.pairs) == (labelled, None)
    run("fill", "demo")
    alien = write_alien(tmp_path / "alien.jsonl", range(ALIEN), kinds=12)
    run("ingest", str(alien), "--dataset", "demo")
    (facts,) = drift_runs(run)
    assert facts["drift"]
    assert facts["reference"] == {30: 50, 80: 80}[labelled]
    assert (facts["apart_limit"] is None) == (labelled == 80)
    assert facts["advice"]["unit"] == "rows"
    if labelled == 80:
        assert_least_budget(store, facts, seed.sources)
    store.database.close()


def assert_least_budget(store, facts, sources):
    """By a scan of all budgets; without peers the limit is the same for all rows."""
    version = store.version("demo")
    (embedder,) = store.producers("embedding")
    old, new = set(sources.tolist()), [sid for sid in version.sids.tolist() if sid >= 80]
    vectors = store.vectors(embedder, version.sids)
    at = {sid: k for k, sid in enumerate(version.sids.tolist())}

    def n_outside(labelled):
        near = 1 - vectors[[at[sid] for sid in new]] @ vectors[[at[sid] for sid in labelled]].T
        return int((near.min(axis=1) > facts["far_limit"]).sum())

    assert n_outside(sorted(old)) == facts["outside"]
    order = row_order(store, version, 0).tolist()
    tolerated = int(facts["expected"] * len(new))
    enough = next(n for n in range(len(order)) if n_outside(old | set(order[:n])) <= tolerated)
    assert enough <= facts["advice"]["budget"]
    assert facts["advice"]["budget"] / 1.3 < max(enough, 100)
    # Chosen well they are fewer than drawn at random.
    assert facts["advice"]["sources"] <= len(set(order[:enough]) - old)


def test_labels_that_came_after_the_training_are_not_its_seed(filled, tiny_llm):
    store = opened(filled)
    before = learned(store, find_estimator(store, None))
    filled("label", "demo", "--model", str(tiny_llm), "--pairs", "1600")
    after = learned(store, find_estimator(store, None))
    assert after.pairs.equals(before.pairs)
    assert len(store.pairs(after.method)) > before.pairs.height
    store.database.close()
