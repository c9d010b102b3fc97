"""`log --cost` says what stands in the run table: every figure is worked out again from it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from influence_store.errors import NotFound
from influence_store.meter import Meter, on_gpu, one_verb
from influence_store.store.store import Store
from influence_store.version import __version__

MONEY = ("seconds", "cpu_seconds", "gpu_seconds", "llm_passes", "llm_tokens")


def rows(cli):
    """The run table as SQL gives it, nothing of the tool's models."""
    store = Store.open(cli.root, __version__)
    with store.database.read() as session:
        found = session.connection().execute(text("select * from run")).mappings().all()
    store.database.close()
    told = [dict(one) for one in found]
    for one in told:
        for name in ("cost", "result", "params"):
            one[name] = json.loads(one[name]) if isinstance(one[name], str) else one[name]
    return told


@pytest.fixture
def after(stages, tmp_path):
    """The store after the whole main job, whose selection stands on the estimator."""
    return stages.copy_after("select", tmp_path / "store")


def test_what_every_verb_spent_is_the_sum_of_its_rows(after):
    told = {one["verb"]: one for one in after.json("log", "--cost")["spent"]}
    runs = rows(after)
    assert set(told) == {run["verb"] for run in runs} >= {"ingest", "embed", "label", "select"}
    for verb, one in told.items():
        those = [run for run in runs if run["verb"] == verb]
        assert one["runs"] == len(those)
        for name in (*MONEY, "embeddings", "fills"):
            assert one[name] == pytest.approx(sum(run["cost"].get(name, 0) for run in those))
        assert one["seconds"] > 0
        assert one["cpu_seconds"] > 0
        assert one["gpu_seconds"] == 0


def test_the_saving_is_what_the_rows_come_to(after):
    (told,) = after.json("log", "--cost", "--dataset", "demo")["savings"]
    runs = {run["verb"]: run for run in rows(after)}
    needed = {
        "labelling": "label",
        "embedding": "embed",
        "training": "train",
        "filling": "fill",
        "selecting": "select",
    }
    assert runs["select"]["params"]["kernel"] == runs["train"]["result"]["estimator"]
    label = runs["label"]["result"]
    assert (told["unit"], told["cells"], told["measured"]) == ("pairs", 80 * 79, label["scored"])
    for name in MONEY:
        paid = {part: runs[verb]["cost"].get(name, 0) for part, verb in needed.items()}
        for part, one in told["spent"].items():
            assert one[name] == pytest.approx(paid.get(part, 0)), part
        assert told["total"][name] == pytest.approx(sum(paid.values()))
        if name == "gpu_seconds":
            assert name not in told["saving"]
            continue
        all_ = 80 * 79 * label[name] / label["scored"]
        assert told["everything"][name] == pytest.approx(all_)
        assert told["saving"][name] == pytest.approx(1 - sum(paid.values()) / all_)


def test_a_loss_is_called_one(after):
    (told,) = after.json("log", "--cost")["savings"]
    said = after("log", "--cost")
    for name, word in (("cpu_seconds", "CPU seconds"), ("llm_tokens", "LLM tokens")):
        saved = told["saving"][name]
        share = f"saved {saved:.1%} of" if saved >= 0 else f"cost {-saved:.0%} more"
        assert f"{share} {word}" in said
    verdict = after.json("card", "delift-l2")["verdict"]
    assert told["verdicts"] == {"delift-l2": verdict}
    assert f"what was had instead: estimates of delift-l2 ({verdict!r})" in said
    assert "NN-CIFT claims 99.7 %" in said
    assert "GPU seconds are 0: no run had a model on a GPU" in said


def test_without_an_estimator_no_saving_is_told(stages, tmp_path):
    labelled = stages.copy_after("label", tmp_path / "labelled")
    (told,) = labelled.json("log", "--cost")["savings"]
    assert (told["saving"], told["missing"]) == ({}, ["no estimator is trained on these labels"])
    assert "no saving can be told: no estimator is trained" in labelled("log", "--cost")
    trained = stages.copy_after("train", tmp_path / "trained")
    (told,) = trained.json("log", "--cost")["savings"]
    assert told["missing"] == ["the estimator filled no column yet"]


def test_where_nothing_was_labelled_or_done_that_is_said(stages, tmp_path):
    fresh = stages.copy_after("init", tmp_path / "fresh")
    assert fresh("log", "--cost").splitlines() == ["no runs yet"]
    embedded = stages.copy_after("embed", tmp_path / "embedded")
    assert "nothing was labelled by these runs" in embedded("log", "--cost")
    with pytest.raises(NotFound):
        embedded("log", "--cost", "--dataset", "dome")


def test_a_run_that_fails_keeps_what_it_had_spent(after):
    store = Store.open(after.root, __version__)

    def fail():
        with store.claim("label", "label:x:demo", {"dataset": "demo@1"}) as run:
            run.publish([], spent={"llm_passes": 7})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    store.database.close()
    (failed,) = [run for run in rows(after) if run["state"] == "failed"]
    assert failed["cost"]["llm_passes"] == 7
    assert failed["cost"]["seconds"] > 0


def test_nothing_is_counted_twice_and_within_a_verb_nothing_is_left_out():
    with one_verb():
        before = sum(k * k for k in range(200_000))
        outer = Meter()
        inner = Meter()
        assert sum(k * k for k in range(200_000)) == before
        within = inner.stop()
        whole = outer.stop()
        assert whole.cpu > 0  # what came before the first meter is its
        assert within.cpu > 0
        alone = Meter()
        both = alone.read()
    assert both.wall < whole.wall + within.wall
    assert whole.gpu == within.gpu == 0


def test_seconds_on_a_gpu_count_from_when_a_model_was_put_there(monkeypatch):
    monkeypatch.setattr("influence_store.meter._gpu_since", [])
    meter = Meter()
    assert meter.read().gpu == 0
    on_gpu()
    on_gpu()
    taken = meter.stop()
    assert 0 < taken.gpu < taken.wall
