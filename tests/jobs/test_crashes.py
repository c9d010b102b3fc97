"""`kill -9` at every named step of every verb: the last committed state stays, a rerun finishes.

The incident behind it: a process that dies between writing a LanceDB table and recording it in SQL
must leave neither half a version nor rows that a later commit would pick up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from influence_store.store.faults import INIT_STEPS, STEPS

BLOCK_STEPS = tuple(step for step in STEPS if step != "artifact-written")
TRAIN_STEPS = tuple(step for step in STEPS if not step.startswith("block-"))
KILLS = [
    *[(verb, step) for verb in ("ingest", "embed", "label", "fill", "select")
      for step in BLOCK_STEPS],
    *[("train", step) for step in TRAIN_STEPS],
    # later passes: the second block of an ingest, the pairs after the base states
    ("ingest", "block-read-back:2"), ("label", "published:2"), ("label", "block-synced:2"),
]  # fmt: skip

FACTS = {
    "datasets": "select * from datasets order by 1, 2",
    "rows": "select sample_id, file, line from demo order by 1",
    "pairs": "select source_id, target_id, output, value from pairs order by all",
    "estimators": "select name, network, method, verdict from estimators",
    "estimates": "select sample_id, est_delift_l2 from demo order by 1",
    "selection": "select rank, sample_id, gain from selection_items order by rank",
}


def state(run) -> dict[str, object]:
    """Everything a reader can see, by questions that may fail where nothing is there yet."""
    seen: dict[str, object] = {}
    for name, sql in FACTS.items():
        try:
            seen[name] = run.json("query", sql)
        except Exception as error:
            seen[name] = type(error).__name__
    return seen


def killed_at(step: str, run, command: list[str]) -> None:
    """Run `command` in its own process, which kills itself at `step`."""
    environment = {**os.environ, "INFLUENCE_STORE_KILL_AT": step}
    done = subprocess.run(
        [sys.executable, "-m", "influence_store.cli", "--store", str(run.root), *command],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("step", INIT_STEPS)
def test_killed_init_is_finished_by_the_next(open_cli, tmp_path, step):
    run = open_cli(tmp_path / "store")
    killed_at(step, run, ["init"])
    run("init")
    assert run.json("status")["contents"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "step"), KILLS, ids=lambda value: str(value))
def test_killed_verb_leaves_the_old_state_and_a_rerun_finishes(stages, tmp_path, verb, step):
    run = stages.copy_before(verb, tmp_path / "store")
    finished = state(stages.copy_after(verb, tmp_path / "finished"))
    before = state(run)

    killed_at(step, run, stages.commands[verb])

    left = state(run)
    # Each question has its old or its new answer; label publishes in several steps, each a fact.
    for name in FACTS:
        partial_facts = verb == "label" and name == "pairs"
        assert left[name] in (before[name], finished[name]) or partial_facts, name
    if step in ("claimed", "block-written", "block-synced", "publish-begun"):
        assert left == before
    assert run.json("status")["working"] == []

    run(*stages.commands[verb])
    assert state(run) == finished
    assert run.json("status")["interrupted"] == []


def test_what_a_killed_run_had_spent_stays_in_the_ledger(stages, tmp_path):
    run = stages.copy_before("label", tmp_path / "store")
    killed_at("published:2", run, stages.commands["label"])
    (killed, *_) = run.json("log")["runs"]
    assert killed["verb"] == "label"
    assert killed["cost"]["llm_passes"] > 0
    run(*stages.commands["label"])
    states = {one["state"] for one in run.json("log")["runs"] if one["verb"] == "label"}
    assert states == {"aborted", "committed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "kept"), [("artifact-written:2", 0), ("published:2", 16), ("block-synced:2", 16)]
)
def test_killed_label_of_rows_goes_on_with_the_same_checkpoints(
    stages, tmp_path, tiny_llm, step, kept
):
    command = ["label", "demo", "--method", "grand", "--model", str(tiny_llm), "--rows", "all"]
    command += ["--set", "n_checkpoints=2", "--set", "epochs=1", "--set", "rank=2"]
    values = "select sample_id, inf_grand from demo order by 1"
    whole = stages.copy_before("label", tmp_path / "whole")
    whole(*command)
    run = stages.copy_before("label", tmp_path / "store")
    killed_at(step, run, command)
    told = run.json(*command)
    assert (told["columns"][0]["reused"], told["columns"][0]["scored"]) == (kept, 80 - kept)
    ours, theirs = run.json("query", values), whole.json("query", values)
    assert [row["sample_id"] for row in ours] == [row["sample_id"] for row in theirs]
    # Other batches round differently; other checkpoints would be far away.
    expected = pytest.approx([row["inf_grand"] for row in theirs], rel=1e-6)
    assert [row["inf_grand"] for row in ours] == expected
