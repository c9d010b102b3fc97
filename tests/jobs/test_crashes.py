"""What a killed run leaves behind it: an empty store, its ledger, the checkpoints it had paid for.

That the store itself is whole after `kill -9` at every step of every verb is shown in
tests/reliability.
"""

from __future__ import annotations

import signal

import children
import pytest
from command_line import line_in_child

from influence_store.store.faults import INIT_STEPS

GRAND = ["--method", "grand", "--rows", "all"]
GRAND += ["--set", "n_checkpoints=2", "--set", "epochs=1", "--set", "rank=2"]
VALUES = "select sample_id, inf_grand from demo order by 1"

# Before the first child starts, which is after all tests were collected.
children.preload("warm_torch")


def killed_at(step: str, run, command: list[str]) -> None:
    """Run `command` in its own process, which kills itself at `step`."""
    code = children.run(line_in_child, run.line(*command), {"INFLUENCE_STORE_KILL_AT": step})
    assert code == -signal.SIGKILL


@pytest.mark.parametrize("step", INIT_STEPS)
def test_killed_init_is_finished_by_the_next(open_cli, tmp_path, step):
    run = open_cli(tmp_path / "store")
    killed_at(step, run, ["init"])
    run("init")
    assert run.json("status")["contents"] == 0


def test_what_a_killed_run_had_spent_stays_in_the_ledger(stages, tmp_path):
    run = stages.copy_before("label", tmp_path / "store")
    killed_at("published:2", run, stages.commands["label"])
    (killed, *_) = run.json("log")["runs"]
    assert killed["verb"] == "label"
    assert killed["cost"]["llm_passes"] > 0
    run(*stages.commands["label"])
    states = {one["state"] for one in run.json("log")["runs"] if one["verb"] == "label"}
    assert states == {"aborted", "committed"}


@pytest.fixture(scope="module")
def values(stages, tmp_path_factory, tiny_llm):
    """What a run that nobody kills measures."""
    whole = stages.copy_before("label", tmp_path_factory.mktemp("whole") / "store")
    whole("label", "demo", "--model", str(tiny_llm), *GRAND)
    return whole.json("query", VALUES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "kept"), [("artifact-written:2", 0), ("published:2", 8), ("block-synced:2", 8)]
)
def test_killed_label_of_rows_goes_on_with_the_same_checkpoints(
    stages, tmp_path, tiny_llm, values, step, kept
):
    command = ["label", "demo", "--model", str(tiny_llm), *GRAND]
    run = stages.copy_before("label", tmp_path / "store")
    killed_at(step, run, command)
    told = run.json(*command)
    assert (told["columns"][0]["reused"], told["columns"][0]["scored"]) == (kept, 80 - kept)
    ours = run.json("query", VALUES)
    assert [row["sample_id"] for row in ours] == [row["sample_id"] for row in values]
    # Other batches round differently; other checkpoints would be far away.
    expected = pytest.approx([row["inf_grand"] for row in values], rel=1e-6)
    assert [row["inf_grand"] for row in ours] == expected
