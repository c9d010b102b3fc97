"""`label` for one number, or one vector, per sample: what is stored, reused, counted and told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import Incompatible, UsageError
from influence_store.influence import METHODS
from influence_store.store.store import Store
from influence_store.version import __version__

POOL, EXAM = range(24), range(100, 106)


@pytest.fixture
def run(tmp_path, open_cli, write_rows):
    cli = open_cli(tmp_path / "store")
    cli("init")
    cli("ingest", str(write_rows(tmp_path / "pool.jsonl", POOL)), "--dataset", "pool")
    rows = [json.loads(line) for line in write_rows(tmp_path / "x", EXAM).read_text().splitlines()]
    exam = [{**row, "task": "odd" if k % 2 else "even"} for k, row in enumerate(rows)]
    (tmp_path / "exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in exam))
    cli("ingest", str(tmp_path / "exam.jsonl"), "--dataset", "exam")
    return cli


def opened(run) -> Store:
    return Store.open(run.root, __version__)


def column(report, name):
    return next(one for one in report["columns"] if one["name"] == name)


SMALL = ["--set", "n_checkpoints=2", "--set", "epochs=1", "--set", "dim=32", "--set", "rank=2"]


def test_two_methods_of_one_pass_cost_one_pass_and_rank_by_sql(run, tiny_llm):
    model = ["--model", str(tiny_llm), "--rows", "all"]
    both = run.json("label", "pool", "--method", "perplexity", "--method", "el2n-token", *model)
    assert both["llm_passes"] == len(POOL)
    ranked = json.loads(
        run(
            *("query", "--format", "json"),
            "select sample_id, inf_perplexity, inf_el2n_token from pool order by 2 desc",
        )
    )
    values = [row["inf_perplexity"] for row in ranked]
    assert len(values) == len(POOL)
    assert values == sorted(values, reverse=True)
    assert all(0 <= row["inf_el2n_token"] <= 2**0.5 for row in ranked)


def test_what_is_known_is_not_asked_again(run, tiny_llm):
    model = ["--model", str(tiny_llm)]
    first = run.json("label", "pool", "--method", "perplexity", *model, "--rows", "10")
    more = run.json("label", "pool", "--method", "perplexity", *model, "--rows", "all")
    again = run.json("label", "pool", "--method", "perplexity", *model, "--rows", "all")
    assert [column(one, "perplexity")["scored"] for one in (first, more, again)] == [10, 14, 0]
    assert [one["llm_passes"] for one in (first, more, again)] == [10, 14, 0]
    assert "points perplexity: 24 of 24 rows" in run("status")


def test_a_method_that_joins_later_is_measured_on_the_rows_it_lacks(run, tiny_llm):
    model = ["--model", str(tiny_llm)]
    run("label", "pool", "--method", "perplexity", *model, "--rows", "10")
    both = run.json(
        *("label", "pool", "--method", "perplexity", "--method", "ifd"), *model, "--rows", "all"
    )
    assert column(both, "perplexity")["scored"] == 14
    assert column(both, "ifd")["scored"] == 24


def test_an_option_that_a_method_cannot_follow_is_told(run, tiny_llm):
    model = ["--model", str(tiny_llm), "--rows", "4", "--max-response-tokens", "3"]
    cut = run.json("label", "pool", "--method", "perplexity", *model)
    whole = run.json("label", "pool", "--method", "rds", *model)
    assert cut["notes"] == []
    assert whole["notes"] == ["rds reads whole texts, whatever --max-response-tokens"]


def test_a_row_too_long_is_null_and_counted_never_zero(run, tiny_llm, tmp_path):
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"instruction": "count " * 200, "input": "", "output": "no"}) + "\n")
    run("ingest", str(long), "--dataset", "long")
    told = run.json(
        "label", "long", "--method", "perplexity", "--model", str(tiny_llm), "--rows", "all"
    )
    assert column(told, "perplexity")["truncated"] == 1
    row = json.loads(run("query", "--format", "json", "select value, truncated from points"))
    assert row == [{"value": None, "truncated": True}] * 2


def test_less_keeps_vectors_and_tells_the_help_per_target_set(run, tiny_llm):
    told = run.json(
        *("label", "pool", "--method", "less", "--model", str(tiny_llm), "--rows", "all"),
        *("--targets", "exam", "--subtasks", "task", *SMALL),
    )
    assert told["reduced"] == ["less-for-exam"]
    store = opened(run)
    sides = {one.facts["side"]: one for one in store.producers("vectors")}
    pool, exam = store.version("pool"), store.version("exam")
    pairs = store.vectors(sides["target"], exam.sids) @ store.vectors(sides["source"], pool.sids).T
    extra = json.loads(run("query", "--format", "json", "select extra from exam"))
    tasks = np.array([json.loads(row["extra"])["task"] for row in extra])
    means = np.stack([pairs[tasks == task].mean(axis=0) for task in ("even", "odd")])
    (reduced,) = [one for one in store.producers("points") if one.name == "less-for-exam"]
    values = store.points(reduced)
    np.testing.assert_allclose(values["less-for-exam"], means.max(axis=0), atol=1e-5)
    np.testing.assert_allclose(values["less-for-exam-odd"], means[1], atol=1e-5)
    assert np.abs(pairs).max() <= 1 + 1e-5


def test_a_row_does_not_vouch_for_itself(run, tiny_llm):
    run(
        *("label", "pool", "--method", "tracin", "--model", str(tiny_llm), "--rows", "all"),
        *("--targets", "pool", *SMALL),
    )
    store = opened(run)
    (vectors,) = store.producers("vectors")
    one = store.vectors(vectors, store.version("pool").sids).astype(float)
    pairs = one @ one.T
    expected = (pairs.sum(axis=0) - np.diag(pairs)) / (len(POOL) - 1)
    (reduced,) = store.producers("points")
    np.testing.assert_allclose(store.points(reduced)["tracin-for-pool"], expected, rtol=1e-5)


def test_a_bilinear_method_is_a_kernel_and_lends_its_vectors_to_k_center(run, tiny_llm):
    run("embed", "pool", "--embedder", "hashing:32")
    with pytest.raises(Incompatible, match=r"label pool@1 --method tracin"):
        run("select", "pool", "--budget", "6", "--kernel", "tracin")
    run(
        *("label", "pool", "--method", "tracin", "--model", str(tiny_llm), "--rows", "all"),
        *("--targets", "pool", *SMALL),
    )
    told = run.json("select", "pool", "--budget", "6", "--kernel", "tracin")
    store = opened(run)
    (vectors,) = store.producers("vectors")
    one = store.vectors(vectors, store.version("pool").sids).astype(float)
    pairs = one @ one.T
    np.fill_diagonal(pairs, -np.inf)
    np.fill_diagonal(pairs, pairs.max(axis=1))
    pairs -= pairs.min()
    ids = dict(store.sample_ids().select("sid", "sample_id").iter_rows())
    rows = {ids[sid].hex(): k for k, sid in enumerate(store.version("pool").sids.tolist())}
    sql = f"select sample_id from selection_items where selection = '{told['id']}' order by rank"
    chosen = [rows[row["sample_id"]] for row in json.loads(run("query", "--format", "json", sql))]
    assert chosen[0] == pairs.sum(axis=0).argmax()
    assert "length-matched random" in told["baselines"]["references"]
    far = run.json(
        *("select", "pool", "--budget", "6", "--objective", "k-center", "--vectors", "tracin")
    )
    assert far["kernel"] == vectors.fingerprint


def test_a_method_of_two_sides_serves_a_target_by_the_side_that_each_has(run, tiny_llm):
    for name in ("pool", "exam"):
        run("embed", name, "--embedder", "hashing:32")
    less = ("--method", "less", "--model", str(tiny_llm), "--rows", "all")
    run("label", "pool", *less, "--targets", "exam", *SMALL)
    command = ("select", "pool", "--target", "exam", "--kernel", "less", "--budget", "4")
    told = run.json(*command, "--keep-leaks")
    store = opened(run)
    sides = {one.facts["side"]: one for one in store.producers("vectors")}
    pool, exam = store.version("pool"), store.version("exam")
    pairs = store.vectors(sides["target"], exam.sids).astype(float) @ (
        store.vectors(sides["source"], pool.sids).astype(float).T
    )
    pairs = pairs.clip(0)
    # FLQMI of one pick: how well the targets are served, and how well the pick is.
    alone = pairs.sum(axis=0) + pairs.max(axis=0)
    ids = dict(store.sample_ids().select("sid", "sample_id").iter_rows())
    sql = f"select sample_id from selection_items where selection = '{told['id']}' order by rank"
    first = json.loads(run("query", "--format", "json", sql))[0]["sample_id"]
    assert first == ids[pool.sids[alone.argmax()]].hex()
    # One that compares the pool with itself needs the pool's other side, and says how to get it.
    with pytest.raises(Incompatible, match=r"rows of pool@1 have no target vector of less") as told:
        run(*command, "--objective", "fl1mi")
    assert "label pool@1 --method less --model M --targets pool@1" in str(told.value)


def test_top_is_the_exact_order_of_all_products(run, tiny_llm):
    run(
        *("label", "pool", "--method", "less", "--model", str(tiny_llm), "--rows", "all"),
        *("--targets", "exam", *SMALL),
    )
    store = opened(run)
    sides = {one.facts["side"]: one for one in store.producers("vectors")}
    pool, exam = store.version("pool"), store.version("exam")
    ids = dict(store.sample_ids().select("sid", "sample_id").iter_rows())
    products = (
        store.vectors(sides["source"], pool.sids).astype(float)
        @ store.vectors(sides["target"], exam.sids[:1])[0]
    )
    best = [ids[sid].hex() for sid in pool.sids[np.argsort(-products, kind="stable")][:5]]
    told = run.json("top", "pool", ids[exam.sids[0]].hex()[:12], "--method", "less", "-k", "5")
    assert [row["sample_id"] for row in told["rows"]] == best


def test_a_second_version_reuses_the_checkpoints_and_pays_for_new_rows_only(
    run, tiny_llm, tmp_path, write_rows
):
    command = ("label", "pool", "--method", "grand", "--model", str(tiny_llm), "--rows", "all")
    run(*command, *SMALL[:4])
    store = opened(run)
    (trained,) = store.producers("checkpoints")
    before = [block.path for block in store.blocks("points")]
    run("ingest", str(write_rows(tmp_path / "more.jsonl", range(40, 45))), "--dataset", "pool")
    told = run.json(*command, *SMALL[:4])
    assert told["notes"] == ["checkpoints of an earlier fine-tuning on 24 rows"]
    assert column(told, "grand")["scored"] == 5
    assert column(told, "grand")["reused"] == len(POOL)
    assert [one.fingerprint for one in opened(run).producers("checkpoints")] == [
        trained.fingerprint
    ]
    assert [block.path for block in store.blocks("points")][: len(before)] == before


def test_plan_tells_the_passes_and_writes_nothing(run, tiny_llm):
    model = ["--method", "grand", "--model", str(tiny_llm), "--rows", "all", *SMALL[:4]]
    planned = run.json("label", "pool", *model, "--plan")
    store = opened(run)
    assert store.producers() == []
    assert store.blocks("points") == []
    tuning, grand = planned["parts"]
    assert tuning["name"] == "fine-tuning"
    assert grand["cells"] == len(POOL)
    done = run.json("label", "pool", *model)
    assert grand["llm_passes"] == done["llm_passes"] == 2 * len(POOL)
    assert 0.5 < grand["llm_tokens"] / done["llm_tokens"] < 2


def test_plan_of_pairs_counts_passes_and_tokens_within_a_factor(run, tiny_llm):
    command = ["label", "pool", "--model", str(tiny_llm), "--pairs", "100"]
    planned = run.json(*command, "--plan")
    assert opened(run).producers("pairs") == []
    done = run.json(*command)
    tokens = sum(part["llm_tokens"] for part in planned["parts"])
    passes = sum(part["llm_passes"] for part in planned["parts"])
    assert 0.5 < tokens / done["llm_tokens"] < 2
    assert 0.5 < passes / done["llm_passes"] < 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "ifd", "--rows", "all"], "--model"),
        (["--method", "grand", "--rows", "all", "--plan"], "--model"),
        (["--method", "llm-state", "--model", "M", "--plan"], "no --plan"),
        (["--method", "llm-state", "--model", "M", "--rows", "9"], "no budget"),
        (["--method", "ifd", "--model", "M", "--rows", "all", "--targets", "exam"], "--targets"),
        (["--method", "dealrec", "--model", "M", "--rows", "all"], "--targets"),
        (["--method", "delift-se", "--rows", "all"], "top pool"),
        (["--method", "ifd", "--model", "M"], "--rows 500"),
        (["--method", "ifd", "--model", "M", "--pairs", "9"], "rows, not pairs"),
        (["--method", "ifd", "--model", "M", "--rows", "all", "--set", "speed=9"], "speed"),
        (["--method", "ifd", "--model", "M", "--rows", "all", "--subtasks", "x"], "--subtasks"),
    ],
)
def test_a_question_that_cannot_be_asked_fails_before_a_model_is_loaded(run, arguments, says):
    with pytest.raises(UsageError) as caught:
        run("label", "pool", *arguments)
    assert says in str(caught.value)


def test_every_entry_of_the_registry_says_what_its_class_says():
    for name, entry in METHODS.builtin.items():
        spec = entry.load().spec
        said = (entry.kind, entry.higher_means, entry.needs)
        assert (spec.name, (spec.kind, spec.higher_means, spec.needs)) == (name, said)
