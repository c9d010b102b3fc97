"""`plan` of a store where a model labelled: what came since, and what the rest would cost."""

from __future__ import annotations


def items(run):
    (told,) = run.json("plan", "demo")["datasets"]
    return {one["kind"]: one for one in told["items"]}


def test_labels_that_came_after_a_training_make_its_estimates_stale(stages, tmp_path):
    run = stages.copy_after("fill", tmp_path / "store")
    assert items(run)["estimate"]["state"] == "fresh"
    model = stages.commands["label"][3]
    more = str(int(stages.commands["label"][-1]) + 200)
    done = run.json("label", "demo", "--model", model, "--pairs", more)
    told = items(run)["estimate"]
    assert told["state"] == "stale"
    assert told["why"] == f"{done['scored']:,} labels came since it was trained"
    run(*told["command"].split()[1:], "--network", "cosine")
    run("fill", "demo")
    assert items(run)["estimate"]["state"] == "fresh"


def test_what_the_rest_costs_is_told_from_what_a_part_cost(stages, tmp_path):
    run = stages.copy_after("embed", tmp_path / "store")
    model = stages.commands["label"][3]
    command = ("label", "demo", "--method", "ifd", "--model", model, "--rows")
    done = run.json(*command, "20")
    (dataset,) = run.json("status")["datasets"]
    rest = dataset["rows"] - 20
    told = items(run)["points"]
    assert (told["state"], told["missing"]) == ("missing", rest)
    assert told["llm_passes"] == round(rest / 20 * done["llm_passes"])
    assert told["seconds"] > 0
    run(*command, "all")
    assert items(run)["points"]["state"] == "fresh"
