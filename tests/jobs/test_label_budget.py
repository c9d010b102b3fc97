from __future__ import annotations

import pytest

from influence_store.errors import UsageError
from influence_store.jobs.label import Budget


def test_a_share_is_of_rows_and_of_columns():
    assert Budget.of(pairs=None, share="5%", minutes=None).n_pairs(1000, 400, 1.0) == 50 * 20
    assert Budget.of(pairs=None, share="0.05", minutes=None).n_pairs(1000, 400, 1.0) == 1000


def test_minutes_buy_pairs_at_the_measured_pace():
    assert Budget.of(pairs=None, minutes=2.0).n_pairs(1000, 1000, 0.25) == 480
    assert Budget.of(pairs=None, minutes=2.0).n_pairs(1000, 400, 0.0) == 400_000


@pytest.mark.parametrize(
    "given",
    [
        {"pairs": None, "share": None, "minutes": None},
        {"pairs": 10, "share": "5%", "minutes": None},
        {"pairs": None, "share": "0%", "minutes": None},
        {"pairs": None, "share": "120%", "minutes": None},
        {"pairs": None, "share": "some", "minutes": None},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(given):
    with pytest.raises(UsageError):
        Budget.of(**given)


def test_labelling_by_minutes_spends_about_that_time(stages, tmp_path):
    run = stages.copy_before("label", tmp_path / "store")
    command = [word for word in stages.commands["label"] if word not in ("--pairs", "900")]
    told = run.json(*command, "--minutes", "0.05")
    assert told["scored"] > 0
    assert run.json("query", "select count(*) n from pairs") == [{"n": 2 * told["scored"]}]


def test_where_the_first_pairs_are_known_the_pace_is_that_of_the_next(stages, tmp_path):
    run = stages.copy_after("label", tmp_path / "store")
    known = run.json("query", "select count(*) n from pairs where output = 'delift-l2'")[0]["n"]
    command = [word for word in stages.commands["label"] if word not in ("--pairs", "900")]
    told = run.json(*command, "--minutes", "0.02")
    assert told["scored"] > 0
    after = run.json("query", "select count(*) n from pairs where output = 'delift-l2'")[0]["n"]
    assert after == known + told["scored"]
