"""`plan`: what is fresh, stale and missing; and what another verb would do."""

from __future__ import annotations

import json
import shlex

import pytest
from good_store import alpaca

from influence_store.shell import DRY_RUN


def items(trial, *which):
    told = trial("plan", *which, "--json").json()
    return {
        (one["kind"], one["name"]): one for dataset in told["datasets"] for one in dataset["items"]
    }


def test_a_store_that_is_up_to_date_has_nothing_to_mend(trial):
    told = items(trial, "pool")
    assert set(told) == {
        ("embedding", "hashing-16"),
        ("estimate", "guess"),
        ("points", "quality"),
        ("vectors", "grads"),
        ("selection", trial.selection),
    }
    assert {one["state"] for one in told.values()} == {"fresh"}
    assert trial("plan", "pool").out == "  pool@1: 5 of 5 columns and selections are fresh\n"


def test_new_rows_are_missing_everywhere_and_make_a_selection_stale(trial):
    rows = trial.file("new.jsonl", alpaca((f"Say new {k}", f"new {k}") for k in range(9)))
    trial("ingest", rows, "--dataset", "pool", "--no-fill")
    told = items(trial, "pool")
    columns = [one for (kind, _), one in told.items() if kind != "selection"]
    assert {(one["state"], one["missing"]) for one in columns} == {("missing", 9)}
    assert told["selection", trial.selection]["why"] == "made of @1"
    assert told["embedding", "hashing-16"]["command"].endswith("embed pool --embedder hashing:16")
    # What it cost before: 40 rows were embedded, so 9 more cost a share of that.
    log = [run for run in trial("log", "--json").json()["runs"] if run["verb"] == "embed"]
    assert len(log) == 2
    both = sum(run["seconds"] for run in log) / (40 + 8)
    assert told["embedding", "hashing-16"]["seconds"] == pytest.approx(9 * both)
    assert told["points", "quality"]["seconds"] is None  # imported: nobody knows
    # An earlier version lacks nothing.
    assert {one["state"] for one in items(trial, "pool@1").values()} == {"fresh"}
    for (kind, _), one in told.items():
        if kind in ("embedding", "estimate"):
            assert trial(*one["command"].split()[1:]).code == 0
    told = items(trial, "pool")
    assert told["embedding", "hashing-16"]["state"] == told["estimate", "guess"]["state"] == "fresh"


def test_a_stale_selection_is_asked_again_with_all_that_was_asked(trial):
    asked = [
        ("--budget", "10%", "--objective", "flqmi", "--target", "hostile=2"),
        ("--budget", "10%", "--objective", "flqmi", "--target", "hostile"),
        ("--budget", "2", "--objective", "0.5*flcg + 0.5*graph-cut", "--given", "hostile"),
        ("--budget", "3", "--objective", "graph-cut", "--duplicates", "keep-first"),
        ("--budget", "5", "--objective", "graph-cut", "--kernel", "guess", "--accept-weak"),
        ("--budget", "4", "--objective", "top", "--by", "inf_quality"),
    ]
    said = [trial("select", "pool", *one, "--json") for one in asked]
    assert [one.code for one in said] == [0] * len(asked), said
    made = [one.json()["id"] for one in said]
    rows = trial.file("new.jsonl", alpaca((f"Say new {k}", f"new {k}") for k in range(9)))
    trial("ingest", rows, "--dataset", "pool")
    told = items(trial, "pool")
    for selection, words in zip(made, asked, strict=True):
        command = shlex.split(told["selection", selection]["command"])
        assert command == ["influence-store", "select", "pool", *words]
    assert trial(*command[1:]).code == 0
    # Its question has an answer for the newest version: it is not stale any more.
    assert ("selection", made[-1]) not in items(trial, "pool")
    assert ("selection", made[0]) in items(trial, "pool")


def test_plan_of_a_verb_is_its_dry_run(trial):
    planned = trial("plan", "tag", "pool", "first")
    assert planned.out.startswith(DRY_RUN)
    assert planned.out == trial("tag", "pool", "first", "--dry-run").out
    asked = trial("--json", "plan", "embed", "pool", "--embedder", "hashing:4")
    assert json.loads(asked.out)["parts"][0]["cells"] == 40
    trial.unharmed()


def test_a_verb_that_only_reads_has_no_plan(trial):
    said = trial("plan", "query", "select 1")
    assert (said.code, said.out) == (2, "")
    assert "query writes nothing" in said.err


def test_a_name_that_is_neither_verb_nor_dataset_is_not_found(trial):
    said = trial("plan", "pol")
    assert (said.code, said.out) == (4, "")
    assert "did you mean pool?" in said.err


def test_a_misspelt_verb_is_told_as_the_verb_that_was_meant(trial):
    said = trial("plan", "slect", "pool", "--budget", "3")
    assert (said.code, said.out) == (4, "")
    assert "did you mean: influence-store plan select pool --budget 3" in said.err


def test_plan_of_an_empty_store_says_what_comes_first(trial, backend, tmp_path):
    uri, database = backend.new(tmp_path / "empty")
    trial("--store", uri, "init", *(("--database", database) if database else ()))
    assert "next: influence-store ingest" in trial("--store", uri, "plan").out


def test_a_dataset_of_which_nothing_is_computed_is_told_with_the_first_step(trial):
    rows = trial.file("bare.jsonl", alpaca([("a", "b")]))
    trial("ingest", rows, "--dataset", "bare")
    told = trial("plan", "bare").out.splitlines()
    assert told[0] == "  bare@1: nothing is computed of its rows yet"
    assert told[1].strip() == "influence-store embed bare@1 --embedder E"
