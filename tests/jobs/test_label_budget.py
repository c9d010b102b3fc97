from __future__ import annotations

import pytest

from influence_store.errors import UsageError
from influence_store.influence.design import column_design
from influence_store.jobs.label import Budget


def test_a_share_is_of_rows_and_of_columns():
    assert Budget.of(pairs=None, share="5%", minutes=None).n_pairs(1000, 400, 1.0) == 50 * 20
    assert Budget.of(pairs=None, share="0.05", minutes=None).n_pairs(1000, 400, 1.0) == 1000


def test_minutes_buy_pairs_at_the_measured_pace():
    assert Budget.of(pairs=None, minutes=2.0).n_pairs(1000, 1000, 0.25) == 480


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


def ids(n):
    return [k.to_bytes(16, "big") for k in range(n)]


def test_a_bigger_seed_continues_a_smaller_one():
    small, large = (column_design(ids(200), ids(100), n, seed=3) for n in (400, 900))
    for side in (0, 1):
        assert small[side].tolist() == large[side][: len(small[side])].tolist()


def test_the_seed_depends_on_contents_not_on_their_order():
    forward = column_design(ids(50), ids(50), 100, seed=1)
    backward = column_design(ids(50)[::-1], ids(50)[::-1], 100, seed=1)
    for here, there in zip(forward, backward, strict=True):
        assert [49 - k for k in there.tolist()] == here.tolist()


@pytest.mark.parametrize(("n_sources", "n_targets", "n_pairs"), [(30, 300, 900), (300, 7, 350)])
def test_a_lopsided_pool_still_gets_its_pairs(n_sources, n_targets, n_pairs):
    sources, targets = column_design(ids(n_sources), ids(n_targets), n_pairs, seed=0)
    assert 0.8 * n_pairs <= len(sources) * len(targets) <= n_pairs


def test_too_few_pairs_are_refused():
    with pytest.raises(UsageError, match="too few to learn from"):
        column_design(ids(50), ids(50), 9, seed=0)


def test_labelling_by_minutes_spends_about_that_time(stages, tmp_path):
    run = stages.copy_before("label", tmp_path / "store")
    command = [word for word in stages.commands["label"] if word not in ("--pairs", "900")]
    told = run.json(*command, "--minutes", "0.05")
    assert told["scored"] > 0
    assert run.json("query", "select count(*) n from pairs") == [{"n": 2 * told["scored"]}]
