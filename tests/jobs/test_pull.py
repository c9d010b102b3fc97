"""Three stores: A pays, B in the same store pays for new cells only, C pulls."""

from __future__ import annotations

import json

import pytest
from raw_path import raw_path, sizes

from influence_store.errors import IntegrityError, NotFound, UsageError

PAIRS = "300"


def values(run, dataset, columns):
    return run.json("query", f"select sample_id, {columns} from {dataset} order by 1")


@pytest.fixture(scope="module")
def team(tmp_path_factory, open_cli, write_rows, tiny_llm):
    """One store of two teams: A labels and trains on 60 rows; B brings 60, of which 40 are A's."""
    folder = tmp_path_factory.mktemp("team")
    run = open_cli(folder / "store")
    run("init")
    run("ingest", str(write_rows(folder / "a.jsonl", range(60))), "--dataset", "a")
    run("embed", "a", "--embedder", "hashing:32")
    paid = run.json("label", "a", "--model", str(tiny_llm), "--pairs", PAIRS)
    ifd = run.json("label", "a", "--method", "ifd", "--model", str(tiny_llm), "--rows", "all")
    run("train", "a", "--network", "two-step-kernel-ridge", "--name", "tuned")
    run("fill", "a")
    return run, paid, ifd


@pytest.fixture(scope="module")
def second(team, tmp_path_factory, write_rows, tiny_llm):
    run, _, _ = team
    folder = tmp_path_factory.mktemp("second")
    run("ingest", str(write_rows(folder / "b.jsonl", range(20, 80))), "--dataset", "b")
    embedded = run.json("embed", "b", "--embedder", "hashing:32")
    ifd = run.json("label", "b", "--method", "ifd", "--model", str(tiny_llm), "--rows", "all")
    filled = run.json("fill", "b")
    return embedded, ifd, filled


def test_a_second_team_in_the_store_pays_for_new_cells_only(second):
    embedded, ifd, filled = second
    assert (embedded["computed"], embedded["reused"]) == (20, 40)
    (column,) = ifd["columns"]
    assert (column["scored"], column["reused"]) == (20, 40)
    assert (filled["filled"], filled["reused"]) == (20, 40)


@pytest.fixture
def third(second, team, tmp_path, open_cli, write_rows):
    """An empty store of somebody else, with 40 of those rows and 20 of its own."""
    run = open_cli(tmp_path / "third")
    run("init")
    rows = write_rows(tmp_path / "c.jsonl", [*range(20, 60), *range(200, 220)])
    run("ingest", str(rows), "--dataset", "c")
    return run


def test_a_pull_brings_what_was_paid_for_and_says_what_that_was(third, team):
    run, paid, ifd = team
    told = third.json("pull", str(run.root))
    assert told["shared"] == 40
    pulled = {(one["kind"], one["name"]): one["pulled"] for one in told["columns"]}
    assert pulled[("embedding", "hashing-32")] == 40
    assert pulled[("points", "ifd")] == 40
    assert 0 < told["saved"]["llm_passes"] < paid["llm_passes"] + ifd["llm_passes"]


def test_what_was_pulled_is_the_very_same_value(third, team):
    run, _, _ = team
    third("pull", str(run.root))
    theirs = {row["sample_id"]: row["inf_ifd"] for row in values(run, "a", "inf_ifd")}
    ours = {row["sample_id"]: row["inf_ifd"] for row in values(third, "c", "inf_ifd")}
    shared = theirs.keys() & ours.keys()
    assert len(shared) == 40
    assert all(ours[one] == theirs[one] for one in shared)
    pair = "select source_id, target_id, output, value from pairs order by all"
    there = {tuple(row.values()) for row in run.json("query", pair)}
    here = {tuple(row.values()) for row in third.json("query", pair)}
    assert here == {row for row in there if row[0] in ours and row[1] in ours}
    assert here


def test_after_a_pull_only_what_nobody_has_paid_for_is_computed(third, team, tiny_llm):
    run, _, _ = team
    third("pull", str(run.root))
    embedded = third.json("embed", "c", "--embedder", "hashing:32")
    assert (embedded["computed"], embedded["reused"]) == (20, 40)
    told = third.json("label", "c", "--method", "ifd", "--model", str(tiny_llm), "--rows", "all")
    (column,) = told["columns"]
    assert (column["scored"], column["reused"]) == (20, 40)


def test_a_second_pull_brings_nothing(third, team):
    run, _, _ = team
    third("pull", str(run.root))
    again = third.json("pull", str(run.root))
    assert sum(one["pulled"] for one in again["columns"]) == 0
    assert {one["known"] for one in again["columns"]} - {0}
    assert "nothing new" in third("pull", str(run.root))


def test_no_text_of_the_other_store_comes_along(third, team, tmp_path, write_rows):
    run, _, _ = team
    third("pull", str(run.root), "--estimator", "all")
    ours = {row["sample_id"] for row in third.json("query", "select sample_id from samples")}
    assert len(ours) == 60
    secret = json.loads(write_rows(tmp_path / "x.jsonl", [3]).read_text())["instruction"].encode()
    there, here = (
        [(root / path).read_bytes() for path in sizes(root)]
        for root in (raw_path(run.root), raw_path(third.root))
    )
    assert any(secret in content for content in there)
    assert not any(secret in content for content in here)


def test_only_named_columns_are_pulled(third, team):
    run, _, _ = team
    told = third.json("pull", str(run.root), "--only", "ifd")
    assert [one["name"] for one in told["columns"]] == ["ifd"]
    with pytest.raises(NotFound, match="did you mean ifd"):
        third("pull", str(run.root), "--only", "idf")


def test_a_store_does_not_pull_from_itself(team):
    run, _, _ = team
    with pytest.raises(UsageError, match="this very store"):
        run("pull", str(run.root))


def test_damaged_bytes_there_are_not_taken(third, second, team, tmp_path, open_cli, copy_store):
    run, _, _ = team
    copy = open_cli(copy_store(run.root, tmp_path / "copy"))
    for victim in raw_path(copy.root).rglob("blocks/points/*/data/*.lance"):
        content = bytearray(victim.read_bytes())
        content[len(content) // 3] ^= 1
        victim.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"points/.*is not what its catalog vouches for"):
        third("pull", str(copy.root))
    assert third.json("query", "select count(*) as n from runs where verb = 'pull' and "
                      "state = 'failed'") == [{"n": 1}]  # fmt: skip


def test_a_foreign_estimator_is_not_used_before_it_was_measured_here(third, team, tiny_llm):
    run, _, _ = team
    told = third.json("pull", str(run.root), "--estimator", "tuned")
    assert [(one["name"], one["new"]) for one in told["estimators"]] == [("tuned", True)]
    assert third.json("query", "select verdict, trained_on from estimators") == [
        {"verdict": "unmeasured here", "trained_on": "a@1"}
    ]
    third("embed", "c", "--embedder", "hashing:32")
    third("fill", "c", "--estimator", "tuned")
    selected = third("select", "c", "--budget", "5", "--kernel", "tuned")
    assert "falling back to cosine" in selected
    assert "influence-store evaluate tuned --on c" in selected


def test_a_foreign_estimator_is_judged_on_samples_it_never_saw(
    third, team, tiny_llm, tmp_path, write_rows
):
    run, _, _ = team
    third("pull", str(run.root), "--estimator", "tuned")
    more = write_rows(tmp_path / "d.jsonl", range(300, 360))
    third("ingest", str(more), "--dataset", "d")
    third("embed", "d", "--embedder", "hashing:32")
    third("label", "d", "--model", str(tiny_llm), "--pairs", "600")
    told = third.json("evaluate", "tuned", "--on", "d")
    assert told["trained_on"] == "a@1"
    assert (told["seen"], told["same_teacher"]) == (0, True)
    assert told["pairs"] > 100
    assert set(told["card"]["figures"]["Q4"]) >= {"mean", "cosine", "additive-ridge"}


def test_a_pulled_estimator_predicts_what_it_predicts_at_home(third, team):
    run, _, _ = team
    third("pull", str(run.root), "--estimator", "tuned")
    third("embed", "c", "--embedder", "hashing:32")
    third("fill", "c", "--estimator", "tuned")
    theirs = {row["sample_id"]: row["est_tuned"] for row in values(run, "a", "est_tuned")}
    ours = {row["sample_id"]: row["est_tuned"] for row in values(third, "c", "est_tuned")}
    shared = theirs.keys() & ours.keys()
    assert len(shared) == 40
    assert all(ours[one] == theirs[one] for one in shared)


def test_a_profile_names_a_store(third, team, tmp_path, monkeypatch):
    run, _, _ = team
    config = tmp_path / "config.toml"
    config.write_text(f'[profiles.team]\nstore = "{run.root}"\n')
    monkeypatch.setenv("INFLUENCE_STORE_CONFIG", str(config))
    assert third.json("pull", "team")["source"] == str(run.root)


def test_a_source_that_is_no_store_is_told_with_the_profiles_that_are(third, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text('[profiles.team]\nstore = "elsewhere"\n')
    monkeypatch.setenv("INFLUENCE_STORE_CONFIG", str(config))
    with pytest.raises(NotFound, match=r"no store at .*nowhere(?s:.*)profiles here: team"):
        third("pull", str(tmp_path / "nowhere"))
