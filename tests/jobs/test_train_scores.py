"""A student of a pointwise teacher through the store: trained, filled, asked, selected by."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from influence_store.errors import Incompatible, InputError, NotFound, UsageError
from influence_store.jobs.estimators import all_estimators, find_estimator, trained_estimators
from influence_store.jobs.train_report import TrainOptions
from influence_store.jobs.train_scores import train_scores
from influence_store.store.store import Store
from influence_store.version import __version__

pytest.importorskip("onnx")
LABELLED, QUICK = 48, ("ridge", "neighbours")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, open_cli, write_rows, tiny_llm):
    """60 embedded rows, 48 of which the teacher has measured."""
    base = tmp_path_factory.mktemp("scores")
    cli = open_cli(base / "store")
    cli("init")
    cli("ingest", str(write_rows(base / "rows.jsonl", range(60))), "--dataset", "pool")
    cli("embed", "pool", "--embedder", "hashing:32")
    cli(
        *("label", "pool", "--method", "perplexity", "--model", str(tiny_llm)),
        *("--rows", str(LABELLED)),
    )
    return cli


@pytest.fixture
def run(labelled, tmp_path, open_cli, copy_store):
    return open_cli(copy_store(labelled.root, tmp_path / "store"))


def opened(run) -> Store:
    return Store.open(run.root, __version__)


def trained(store: Store, **options):
    return train_scores(
        store, store.version("pool"), "perplexity", TrainOptions(**{"networks": QUICK, **options})
    )


def test_the_estimate_is_a_column_of_all_rows_beside_the_teachers_own(run):
    facts = run.json("query", "select sample_id, value from points where output = 'perplexity'")
    report = trained(opened(run))
    filled = run.json("fill", "pool")
    assert (filled["filled"], filled["null"]) == (60, 0)
    assert filled["verdict"] == report.verdict
    rows = run.json("query", "select sample_id, inf_perplexity, est_perplexity from pool")
    assert sum(row["inf_perplexity"] is None for row in rows) == 60 - LABELLED
    assert all(row["est_perplexity"] is not None for row in rows)
    told = {row["sample_id"]: row["inf_perplexity"] for row in rows}
    assert all(told[fact["sample_id"]] == fact["value"] for fact in facts)


def test_the_column_is_what_the_stored_estimator_predicts(run):
    store = opened(run)
    report = trained(store)
    run("fill", "pool")
    from influence_store.jobs.features import FREE, gather

    one = find_estimator(store, "perplexity")
    sids = store.version("pool").sids
    features, _ = gather(store, sids, FREE, one.embedder, None)
    expected = one.open_scores(store).scores(features)
    blocks = store.blocks("estimate", producer_id=one.producer.id)
    got = {}
    for batch in store.scan(blocks, ["sid", "influence"]):
        got.update(zip(batch["sid"].to_pylist(), batch["influence"].to_pylist(), strict=True))
    np.testing.assert_array_equal([got[sid] for sid in sids.tolist()], expected)
    assert one.producer.fingerprint == report.fingerprint
    assert one.row.card == json.loads(json.dumps(report.card))
    assert one.row.verdict == report.verdict


def test_a_row_that_comes_later_is_filled_as_if_it_had_been_there(run, tmp_path, write_rows):
    trained(opened(run))
    run("fill", "pool")
    before = run.json("query", "select sample_id, est_perplexity from pool")
    run("ingest", str(write_rows(tmp_path / "more.jsonl", range(70, 75))), "--dataset", "pool")
    after = run.json("query", "select sample_id, est_perplexity from pool")
    known = {row["sample_id"]: row["est_perplexity"] for row in after}
    assert len(known) == 65
    assert None not in known.values()
    assert all(known[row["sample_id"]] == row["est_perplexity"] for row in before)


def test_it_lists_as_an_estimator_and_selects_by_its_column(run):
    trained(opened(run), name="surprise")
    run("fill", "pool", "--estimator", "surprise")
    (listed,) = run.json("query", "select name, method, output, verdict from estimators")
    assert (listed["name"], listed["output"]) == ("surprise", "perplexity")
    chosen = run.json(
        *("select", "pool", "--budget", "6", "--objective", "top", "--by", "est_surprise")
    )
    picks = run.json(
        "query",
        "select s.sample_id, est_surprise from selection_items s join pool using (sample_id) "
        f"where selection = '{chosen['id']}'",
    )
    best = run.json("query", "select est_surprise from pool order by 1 desc limit 6")
    assert sorted(row["est_surprise"] for row in picks) == sorted(
        row["est_surprise"] for row in best
    )


def test_scores_are_no_kernel_and_leave_the_default_kernel_alone(run):
    store = opened(run)
    trained(store)
    run("fill", "pool")
    assert [one.producer.name for one in all_estimators(store)] == ["perplexity"]
    assert trained_estimators(store) == []
    told = run.json("select", "pool", "--budget", "5")
    assert told["kernel"] == "cosine"
    with pytest.raises(Incompatible, match="--by est_perplexity"):
        find_estimator(store, "perplexity").open(store)


def test_the_same_training_again_is_the_same_estimator(run):
    store = opened(run)
    one, other = trained(store), trained(store)
    assert one.fingerprint == other.fingerprint
    assert len(all_estimators(store)) == 1
    assert trained(store, output="perplexity-nll").fingerprint != one.fingerprint


def test_both_scales_of_one_score_are_ranked_alike(run):
    store = opened(run)
    for output in ("perplexity", "perplexity-nll"):
        train_scores(
            store,
            store.version("pool"),
            "perplexity",
            TrainOptions(output=output, networks=["ridge"]),
        )
        run("fill", "pool", "--estimator", output)
    rows = run.json("query", "select est_perplexity a, est_perplexity_nll b from pool")
    assert spearmanr([r["a"] for r in rows], [r["b"] for r in rows]).statistic > 0.999


def test_what_cannot_teach_is_refused_with_the_next_command(run, tiny_llm, write_rows, tmp_path):
    store = opened(run)
    pool = store.version("pool")
    with pytest.raises(NotFound, match=r"(?s)no label set named .ifd.*--rows"):
        train_scores(store, pool, "ifd", TrainOptions())
    with pytest.raises(UsageError, match="perplexity has no output 'ppl'"):
        train_scores(store, pool, "perplexity", TrainOptions(output="ppl"))
    with pytest.raises(NotFound, match="llm-state"):
        train_scores(store, pool, "perplexity", TrainOptions(features="llm"))
    run("ingest", str(write_rows(tmp_path / "few.jsonl", range(200, 212))), "--dataset", "few")
    with pytest.raises(NotFound, match="no row of few@1 has a value of perplexity"):
        train_scores(store, store.version("few"), "perplexity", TrainOptions())
    run(*("label", "few", "--method", "perplexity", "--model", str(tiny_llm)), *("--rows", "all"))
    with pytest.raises(NotFound, match="embed few@1"):
        train_scores(store, store.version("few"), "perplexity", TrainOptions())
    run("embed", "few", "--embedder", "hashing:32")
    with pytest.raises(InputError, match="12 samples have a usable score, expected at least 30"):
        train_scores(store, store.version("few"), "perplexity", TrainOptions())
    assert all_estimators(store) == []


def test_with_the_llm_state_its_own_loss_is_told_almost_exactly(run, tiny_llm):
    run("label", "pool", "--method", "llm-state", "--model", str(tiny_llm))
    report = trained(opened(run), features="llm")
    assert report.card["figures"]["ridge"]["spearman"] > 0.8
    assert run.json("fill", "pool")["filled"] == 60
