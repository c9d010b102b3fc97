"""`select` by selectors that read stored columns, chance among them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import NotFound, UsageError

ROWS = range(40)


@pytest.fixture
def run(tmp_path, open_cli, write_rows):
    cli = open_cli(tmp_path / "store")
    cli("init")
    cli("ingest", str(write_rows(tmp_path / "pool.jsonl", ROWS)), "--dataset", "pool")
    cli("embed", "pool", "--embedder", "hashing:32")
    return cli


def picked(run, selection):
    sql = (
        f"select sample_id, gain from selection_items where selection = '{selection}' order by rank"
    )
    return json.loads(run("query", "--format", "json", sql))


def test_random_is_seeded_by_content_and_answered_from_the_store(run):
    first = run.json("select", "pool", "--budget", "10", "--objective", "random", "--seed", "3")
    again = run.json("select", "pool", "--budget", "10", "--objective", "random", "--seed", "3")
    other = run.json("select", "pool", "--budget", "10", "--objective", "random", "--seed", "4")
    assert again["id"] == first["id"]
    assert again["reused"]
    chosen = [row["sample_id"] for row in picked(run, first["id"])]
    assert len(set(chosen)) == 10
    assert set(chosen) != {row["sample_id"] for row in picked(run, other["id"])}
    assert all(row["gain"] is None for row in picked(run, first["id"]))


def test_top_takes_the_best_scores_of_a_stored_column_below_the_tail(run, tiny_llm):
    run("label", "pool", "--method", "perplexity", "--model", str(tiny_llm), "--rows", "all")
    ranked = json.loads(
        run("query", "--format", "json", "select sample_id from pool order by inf_perplexity desc")
    )
    told = run.json(
        *("select", "pool", "--budget", "5", "--objective", "top", "--by", "inf_perplexity"),
        *("--set", "drop_top=0.1"),
    )
    expected = [row["sample_id"] for row in ranked[4:9]]
    assert [row["sample_id"] for row in picked(run, told["id"])] == expected


def test_random_stands_on_nothing_and_a_wrong_sample_id_leads_to_the_right_ones(run):
    assert "by random\n" in run("select", "pool", "--budget", "5", "--objective", "random")
    with pytest.raises(NotFound, match="select sample_id, prompt from samples"):
        run("top", "pool", "nosuch")


def test_k_center_stands_on_the_stored_embedding(run):
    told = run.json("select", "pool", "--budget", "8", "--objective", "k-center")
    assert told["items"] == 8
    assert told["picks"]["radius"] > 0


def test_k_center_adds_to_a_given_dataset_and_takes_none_of_it(run, tmp_path, write_rows):
    run("ingest", str(write_rows(tmp_path / "had.jsonl", range(30, 50))), "--dataset", "had")
    run("embed", "had", "--embedder", "hashing:32")
    told = run.json(
        *("select", "pool", "--budget", "6", "--objective", "k-center", "--given", "had")
    )
    had = {row["sample_id"] for row in run.json("query", "select sample_id from had")}
    chosen = picked(run, told["id"])
    assert not had & {row["sample_id"] for row in chosen}
    assert told["picks"]["n_start"] == 20
    assert all(row["gain"] is not None for row in chosen)
    vectors = {
        row["sample_id"]: np.array(row["v"])
        for row in run.json(
            "query",
            "select sample_id, emb_hashing_32 v from pool union "
            "select sample_id, emb_hashing_32 v from had",
        )
    }
    far = {
        one: min(np.linalg.norm(vectors[one] - vectors[other]) for other in had)
        for one in vectors
        if one not in had
    }
    assert chosen[0]["gain"] == pytest.approx(max(far.values()), rel=1e-5)


def test_every_selector_is_told_beside_random_and_cosine_coverage(run):
    lines = run("select", "pool", "--budget", "8", "--objective", "longest").splitlines()
    assert any("random ×20" in line for line in lines)
    assert any("cosine facility location" in line for line in lines)


def test_length_matched_resembles_a_selection(run):
    longest = run.json("select", "pool", "--budget", "8", "--objective", "longest")
    told = run.json(
        *("select", "pool", "--budget", "8", "--objective", "length-matched"),
        *("--like", longest["id"]),
    )
    assert told["items"] == 8
    assert told["picks"]["log_gap"] < 0.2


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["--objective", "top"], UsageError, "--by"),
        (["--objective", "top", "--by", "inf_ifd"], NotFound, "inf_ifd"),
        (["--objective", "length-matched"], UsageError, "--like"),
        (["--objective", "random", "--kernel", "cosine"], UsageError, "--kernel"),
        (["--objective", "random", "--given", "pool"], UsageError, "cannot add"),
        (["--by", "inf_ifd"], UsageError, "--by"),
        (["--objective", "random", "--set", "speed=9"], UsageError, "speed"),
        (["--objective", "k-center", "--vectors", "bge"], NotFound, "bge"),
    ],
)
def test_what_a_selector_cannot_do_is_said_with_the_way_out(run, arguments, error, says):
    with pytest.raises(error, match=says):
        run("select", "pool", "--budget", "5", *arguments)
