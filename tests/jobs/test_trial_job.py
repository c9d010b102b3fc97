"""`trial` on a store: what is trained once, what a kill costs, what is refused."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.trial_cells import KIND
from influence_store.jobs.trial_learners import FineTuner
from influence_store.store.store import Store
from influence_store.version import __version__

#: Short texts of the fixture repeat runs of words, so that the leak guard would leave nobody.
FEW = ("--probe", "--random", "1", "--arms", "random")
PROBE = ("--probe", "--keep-leaks", "--random", "1")
TINY = ("--max-tokens", "200", "--keep-leaks", "--set", "step_tokens=400", "--random", "1")


@pytest.fixture
def run(stages, tmp_path, write_rows):
    made = stages.copy_after("select", tmp_path / "store")
    made("ingest", str(write_rows(tmp_path / "exam.jsonl", range(200, 224))), "--dataset", "exam")
    return made


@pytest.fixture
def selection(run):
    rows = run("query", "select id from selections", "--format", "json")
    return json.loads(rows)[0]["id"]


def tried(run, selection, *more):
    return run.json("trial", "demo", "--selection", selection, "--holdout", "exam", *more)


def arms(told):
    return {arm["name"]: arm for arm in told["arms"]}


def test_the_probe_compares_a_selection_with_every_baseline(run, selection):
    told = tried(run, selection, *PROBE)
    named = arms(told)
    assert list(named) == [
        *(selection, "random", "length-matched random", "top by mean"),
        *("cosine facility location", "all data"),
    ]
    assert {arm["rows"] for arm in told["arms"]} == {20, 80}
    # Nothing is random in the probe, so rows that stay are fitted once; drawn rows every time.
    drawn = {"random": 3, "length-matched random": 3}
    assert {name: arm["models"] for name, arm in named.items()} == {
        **dict.fromkeys(named, 1),
        **drawn,
    }
    assert [one["against"] for one in told["comparisons"]] == list(named)[1:]
    assert told["trained"] == 10
    assert told["held"] == 24
    for one in told["comparisons"]:
        assert one["low"] <= one["mean"] <= one["high"]
        theirs, ours = named[one["against"]]["loss"], named[selection]["loss"]
        assert one["mean"] == pytest.approx(theirs - ours)


def test_the_same_trial_again_trains_nothing(run, selection):
    first = tried(run, selection, *PROBE)
    before = run.blocks()
    again = tried(run, selection, *PROBE)
    assert again == {**first, "trained": 0}
    assert run.blocks() == before
    shown = run("trial", "demo", "--selection", selection, "--holdout", "exam", *PROBE)
    assert all(one["words"] in shown for one in first["comparisons"])
    other = tried(run, selection, *PROBE, "--seed", "1")
    # Of the seeds 1, 2, 3 two were tried before.
    assert (other["trained"], other["trial"] != first["trial"]) == (2, True)


def test_several_selections_share_their_baselines(run, selection):
    second = run.json("select", "demo", "--budget", "20", "--objective", "random", "--seed", "5")
    told = tried(run, selection, "--selection", second["id"], *PROBE)
    whose = {(one["selection"], one["baseline"]) for one in told["comparisons"]}
    assert {(one, "random") for one in (selection, second["id"])} <= whose
    assert sum(arm["kind"] == "random" for arm in told["arms"]) == 1
    assert sum(arm["kind"] == "length" for arm in told["arms"]) == 2
    assert any("stands on no kernel" in note for note in told["notes"])
    assert len(told["verdicts"]) == 2


def test_a_baseline_that_is_the_selection_itself_is_noticed(run):
    best = run.json(
        "select", "demo", "--budget", "9", "--kernel", "cosine", "--objective", "facility-location"
    )
    told = tried(run, best["id"], *PROBE, "--arms", "cosine-fl,random")
    same, other = told["comparisons"]
    assert (same["baseline"], same["verdict"]) == ("cosine-fl", "same rows")
    assert "low" not in same
    assert other["verdict"] != "same rows"


def test_a_model_is_fine_tuned_on_equal_tokens(run, selection, tiny_llm):
    told = tried(
        run, selection, "--model", str(tiny_llm), *TINY, "--arms", "random,full,untrained",
        "--generate", "4", "--answer-tokens", "4",
    )  # fmt: skip
    named = arms(told)
    tokens = [arm["tokens"] for arm in told["arms"] if arm["kind"] != "untrained"]
    assert max(tokens) - min(tokens) <= 200
    assert (named["all data"]["rows"], named["all data"]["seen"] < 80) == (80, True)
    assert {arm["models"] for arm in told["arms"]} == {1, 3}
    assert named[selection]["loss"] < named["the untrained model"]["loss"]
    assert named[selection]["rouge_l"] is not None
    assert told["settings"]["equal"]["steps"] > 1
    assert told["unit"] == "nats per token"
    again = tried(
        run, selection, "--model", str(tiny_llm), *TINY, "--arms", "random,full,untrained",
        "--generate", "4", "--answer-tokens", "4",
    )  # fmt: skip
    assert again == {**told, "trained": 0}


def test_a_killed_trial_goes_on_and_ends_with_the_same_numbers(
    run, selection, tiny_llm, tmp_path, monkeypatch, copy_store, open_cli
):
    asked = ("--model", str(tiny_llm), *TINY, "--arms", "random", "--seeds", "3")
    other = open_cli(copy_store(run.root, tmp_path / "other"))
    whole = tried(other, selection, *asked)
    measure, made = FineTuner.measure, []

    def dies(self, work, held):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(work)
        return measure(self, work, held)

    with monkeypatch.context() as patched:
        patched.setattr(FineTuner, "measure", dies)
        with pytest.raises(click.exceptions.Abort):
            tried(run, selection, *asked)
    assert len(made) == 3
    ended = tried(run, selection, *asked)
    assert ended == {**whole, "trained": 3}


def test_cells_are_facts_of_the_held_out_rows(run, selection):
    told = tried(run, selection, *PROBE, "--arms", "random")
    store = Store.open(run.root, __version__)
    makers = {one.fingerprint: one for one in store.producers(KIND)}
    held = store.version("exam").bits
    for arm in told["arms"]:
        losses = []
        for cell in arm["cells"]:
            blocks = store.blocks(KIND, producer_id=makers[cell].id)
            (batch,) = list(store.scan(blocks, ["sid", "loss"]))
            assert store.covered(makers[cell].id) == held
            losses.append(batch["loss"].to_numpy().mean())
        assert np.mean(losses) == pytest.approx(arm["loss"])
    store.database.close()


def test_a_forgotten_row_judges_nobody_any_more(run, selection):
    told = tried(run, selection, *FEW, "--keep-leaks")
    asked = "select sample_id from exam limit 1"
    (row,) = json.loads(run("query", asked, "--format", "json"))
    run("forget", row["sample_id"], "--reason", "asked to", "--yes")
    again = tried(run, selection, *FEW, "--keep-leaks")
    assert (again["held"], again["trained"]) == (told["held"] - 1, 0)
    assert run.json("verify")["clean"]


def test_held_out_rows_are_in_no_arm_and_copies_of_the_pool_judge_nobody(
    run, selection, tmp_path, write_rows
):
    # Of 42 rows 12 are rows of the pool, and 4 say the same in other characters.
    mixed = write_rows(tmp_path / "mixed.jsonl", [*range(12), *range(300, 326), *range(20, 24)])
    lines = mixed.read_text().splitlines()
    near = [line.replace("(#", "( #").replace("#20", "#20.") for line in lines[-4:]]
    mixed.write_text("\n".join([*lines[:-4], *near]))
    run("ingest", str(mixed), "--dataset", "mixed")
    run("embed", "mixed", "--embedder", "hashing:32")
    told = run.json(
        "trial", "demo", "--selection", selection, *FEW, "--holdout", "mixed", "--keep-leaks"
    )
    assert (told["held"], told["leaked"]) == (30, 12)
    guarded = run.json("trial", "demo", "--selection", selection, *FEW, "--holdout", "mixed")
    assert guarded["held"] <= 26
    assert guarded["held"] + guarded["leaked"] == 42


def test_without_a_dataset_to_judge_by_rows_that_were_not_chosen_judge(run, selection):
    told = run.json("trial", "demo", "--selection", selection, *PROBE)
    assert (told["held"], arms(told)["all data"]["rows"]) == (12, 68)
    assert "what a selection left out" in told["notes"][0]


def test_log_tells_what_it_cost(run, selection):
    told = tried(run, selection, *PROBE, "--arms", "random")
    (entry,) = run.json("log", "--limit", "1")["runs"]
    assert entry["cost"]["models"] == told["trained"] == 4
    assert entry["result"] == told
    assert entry["params"]["selections"] == [selection]


def test_the_verdict_stands_in_log_report_and_show(run, selection, tmp_path):
    assert run("trial", "demo", "--show") == "nothing selected from demo was tried yet\n"
    told = tried(run, selection, *PROBE, "--arms", "random,cosine-fl")
    tried(run, selection, *PROBE, "--arms", "random,cosine-fl")
    words = [one["words"] for one in told["comparisons"]]
    (past,) = run.json("trial", "demo", "--show")["trials"]
    assert past["comparisons"] == told["comparisons"]
    shown = run("trial", "demo", "--show")
    assert all(one in shown for one in words)
    assert words[0] in run("log", "--limit", "1")
    page = tmp_path / "report.html"
    facts = run.json("report", "demo", "-o", str(page))["selection"]
    assert [one["words"] for one in facts["trials"]] == words
    assert [one["mean"] for one in facts["trials"]] == [one["mean"] for one in told["comparisons"]]
    html = page.read_text()
    assert all(one.replace("+", "&#43;") in html or one in html for one in words)
    assert f"Trained on (probe, 24 held-out rows): {words[0]}." in html.replace("&#43;", "+")


def test_what_makes_no_sense_is_refused(run, selection, tiny_llm):
    model = ("--model", str(tiny_llm))
    for asked, why in (
        (("demo", "--selection", selection), "what is to learn"),
        (("demo", "--selection", selection, "--probe", *model), "what is to learn"),
        (("demo", "--probe"), "which selection"),
        (("demo", "--selection", selection, "--probe", "--arms", "best"), "no arm 'best'"),
        (("demo", "--selection", selection, "--probe", "--generate", "3"), "neither"),
        (("demo", "--selection", selection, *model, "--set", "speed=1"), "no setting 'speed'"),
        (("demo", "--selection", selection, *model, "--set", "rank=x"), "'x' is no int"),
        (("exam", "--selection", selection, "--probe"), "not from exam"),
    ):
        with pytest.raises(UsageError, match=why):
            run("trial", *asked)
    with pytest.raises(NotFound, match="no selection named"):
        run("trial", "demo", "--selection", "ffffff", "--probe")
