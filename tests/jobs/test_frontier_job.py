"""`frontier`: budgets along a stored order, and two targets against each other."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.kernels import choose_kernel
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.views import ArrayView, Clipped
from influence_store.store.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory, open_cli, write_rows):
    base = tmp_path_factory.mktemp("frontier")
    cli = open_cli(base / "store")
    cli("init")
    sums, lists = range(100, 140, 4), range(102, 142, 4)  # two of the four kinds of rows
    for name, numbers in (("pool", range(60)), ("sums", sums), ("lists", lists)):
        cli("ingest", str(write_rows(base / f"{name}.jsonl", numbers)), "--dataset", name)
        cli("embed", name, "--embedder", "hashing:32")
    return cli


def test_every_point_is_the_value_of_a_smaller_budget(run):
    whole = run.json("select", "pool", "--budget", "20", "--kernel", "cosine")
    told = run.json("frontier", whole["id"])
    assert [one["n"] for one in told["points"]] == list(range(2, 21, 2))
    assert told["points"][-1]["share"] == 1
    for point in (told["points"][2], told["points"][6]):
        smaller = run.json("select", "pool", "--budget", str(point["n"]), "--kernel", "cosine")
        gains = run.json(
            "query", f"select gain from selection_items where selection = '{smaller['id']}'"
        )
        assert point["value"] == pytest.approx(sum(one["gain"] for one in gains), rel=1e-12)
    sql = (
        "select sum(prompt_chars + response_chars) chars from samples join selection_items "
        f"using (sample_id) where selection = '{whole['id']}' and rank <= 6"
    )
    assert told["unit"] == "characters"
    assert told["points"][2]["cost"] == int(run.json("query", sql)[0]["chars"])


def test_people_see_a_table_and_a_curve(run):
    made = run.json("select", "pool", "--budget", "20", "--kernel", "cosine")["id"]
    text = run("frontier", made)
    assert "every row is also the answer to that smaller budget" in text
    assert "100.0%" in text
    assert text.count("*") > 10


def test_where_smaller_budgets_are_answered_otherwise_it_is_said(run):
    arguments = ("select", "pool", "--budget", "9", "--kernel", "cosine")
    made = run.json(*arguments, "--optimizer", "stochastic-greedy")["id"]
    assert run.json("frontier", made)["notes"] == [
        "stochastic-greedy would answer smaller budgets with other samples"
    ]


def test_what_has_no_gains_that_add_up_has_no_curve(run):
    made = run.json("select", "pool", "--budget", "5", "--objective", "longest")["id"]
    with pytest.raises(UsageError, match="do not add up to a curve"):
        run("frontier", made)


def test_the_frontier_of_two_targets_runs_from_one_to_the_other(run):
    arguments = ("frontier", "pool", "--target", "sums", "--target", "lists", "--budget", "6")
    told = run.json(*arguments, "--kernel", "cosine", "--steps", "5")
    points = told["points"]
    assert [one["lambda"] for one in points] == [0, 0.25, 0.5, 0.75, 1]
    assert (points[-1]["shares"][0], points[0]["shares"][1]) == (1, 1)
    store = Store.open(run.root, "test")
    versions = [store.version(name) for name in ("pool", "sums", "lists")]
    kernel = choose_kernel(store, versions, "cosine", accept_weak=False)
    for t, version in enumerate(versions[1:]):
        view = Clipped(kernel.view(version.sids, versions[0].sids))
        rows, columns = map(np.arange, view.shape)
        function = FLQMI(ArrayView(view.block(rows, columns)))
        best = run.json(
            *("select", "pool", "--budget", "6", "--kernel", "cosine"),
            *("--target", version.dataset, "--keep-leaks"),
        )
        sql = f"select sample_id from selection_items where selection = '{best['id']}'"
        ids = {one["sample_id"] for one in run.json("query", sql)}
        everyone = store.sample_ids()
        sids = [s for s, raw in everyone.select("sid", "sample_id").iter_rows() if raw.hex() in ids]
        expected = function.value(np.searchsorted(versions[0].sids, sids))
        end = points[-1] if t == 0 else points[0]
        assert end["values"][t] == pytest.approx(expected, rel=1e-5)
    store.database.close()
    assert "beaten by none on both targets" in run(*arguments, "--kernel", "cosine")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["pool", "--target", "sums", "--budget", "5"], UsageError, "found 1 target;"),
        (["pool", "--target", "sums", "--target", "lists"], UsageError, "need a --budget"),
        (["zzz"], NotFound, "no selection named"),
        (["zzz", "--budget", "5"], UsageError, "are for two targets"),
    ],
)
def test_what_makes_no_sense_is_refused(run, arguments, error, says):
    with pytest.raises(error, match=says):
        run("frontier", *arguments)
