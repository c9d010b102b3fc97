"""`import`: another tool's scores become facts of the samples that the store knows."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from manifest import MANIFEST

from influence_store.errors import Incompatible, InputError, NotFound
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import ArrayView, SelfCovered
from influence_store.store.store import Store
from influence_store.version import __version__

ROWS = range(12)


@pytest.fixture
def run(tmp_path, open_cli, write_rows):
    cli = open_cli(tmp_path / "store")
    cli("init")
    cli("ingest", str(write_rows(tmp_path / "pool.jsonl", ROWS)), "--dataset", "pool")
    return cli


def ids(run):
    table = json.loads(run("query", "--format", "json", "select sample_id from pool order by line"))
    return [row["sample_id"] for row in table]


def manifest(folder, **fields):
    path = folder / "identity.json"
    path.write_text(json.dumps({**MANIFEST, **fields}))
    return str(path)


def test_a_matrix_named_by_its_data_file_lands_on_the_right_pairs(run, tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    np.save(tmp_path / "scores.npy", values.T)  # dattri: source × target
    target_ids = [ids(run)[k] for k in (4, 0, 7)]
    told = run.json(
        *("import", str(tmp_path / "scores.npy"), "--format", "dattri"),
        *("--identity", manifest(
            tmp_path, kind="pairwise", source_ids="pool.jsonl", target_ids=target_ids
        )),
    )  # fmt: skip
    assert told["added"] == 3 * 12 - 3
    assert told["dropped"] == {"sample paired with itself": 3}
    found = {
        (row["source_id"], row["target_id"]): row["value"]
        for row in json.loads(run("query", "--format", "json", "select * from pairs"))
    }
    for i, target in enumerate(target_ids):
        for j, source in enumerate(ids(run)):
            if source != target:
                assert found[source, target] == pytest.approx(values[i, j])


def test_points_rank_by_sql_and_a_second_import_adds_nothing(run, tmp_path):
    known = ids(run)
    frame = {"sample_id": [*known, "00" * 16], "value": [float(k) for k in range(13)]}
    pl.DataFrame(frame).write_parquet(tmp_path / "s.parquet")
    command = ("import", str(tmp_path / "s.parquet"), "--format", "parquet")
    identity = ("--identity", manifest(tmp_path, kind="pointwise"))
    told = run.json(*command, *identity)
    assert (told["added"], told["known"]) == (12, 0)
    assert told["dropped"] == {"sample not in the store": 1}
    sql = "select sample_id from pool order by inf_foreign desc limit 2"
    best = json.loads(run("query", "--format", "json", sql))
    assert [row["sample_id"] for row in best] == [known[11], known[10]]
    again = run.json(*command, *identity)
    assert (again["added"], again["known"]) == (0, 12)


def test_vectors_of_both_sides_answer_top(run, tmp_path):
    known = ids(run)
    rng = np.random.default_rng(1)
    sources, targets = rng.normal(size=(12, 4)), rng.normal(size=(2, 4))
    named = [*zip(known, sources, strict=True)], [*zip(known[:2], targets, strict=True)]
    rows = [
        {"sample_id": one, "side": side, "vector": vector.tolist()}
        for side, part in zip(("source", "target"), named, strict=True)
        for one, vector in part
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "v.parquet")
    told = run.json(
        *("import", str(tmp_path / "v.parquet"), "--format", "parquet"),
        *("--identity", manifest(tmp_path, kind="bilinear")),
    )
    assert told["added"] == 14
    best = run.json("top", "pool", known[1], "--method", "foreign", "-k", "3")
    products = sources @ targets[1]
    products[1] = -np.inf
    expected = [known[k] for k in np.argsort(-products)[:3]]
    assert [row["sample_id"] for row in best["rows"]] == expected


def test_a_file_without_identity_is_refused_with_the_list(run, tmp_path):
    np.save(tmp_path / "scores.npy", np.zeros((12, 3), np.float32))
    (tmp_path / "identity.json").write_text(json.dumps({"method": "foreign", "seed": 0}))
    with pytest.raises(InputError, match="model_revision") as caught:
        run(
            *("import", str(tmp_path / "scores.npy"), "--format", "dattri"),
            *("--identity", str(tmp_path / "identity.json")),
        )
    for field in ("kind", "higher_means", "model_id", "dtype", "tokenizer_hash", "code_version"):
        assert field in str(caught.value)


def test_scores_of_strangers_are_refused(run, tmp_path):
    pl.DataFrame({"sample_id": ["11" * 16], "value": [1.0]}).write_parquet(tmp_path / "s.parquet")
    with pytest.raises(InputError, match=r"none of the samples .* is in the store"):
        run(
            *("import", str(tmp_path / "s.parquet"), "--format", "parquet"),
            *("--identity", manifest(tmp_path, kind="pointwise")),
        )
    assert Store.open(run.root, __version__).producers() == []


def test_labelled_pairs_alone_can_be_the_kernel_of_a_selection(run, tmp_path):
    values = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    np.save(tmp_path / "scores.npy", values.T)
    run(
        *("import", str(tmp_path / "scores.npy"), "--format", "dattri"),
        *("--identity", manifest(
            tmp_path, kind="pairwise", source_ids="pool.jsonl", target_ids="pool.jsonl"
        )),
    )  # fmt: skip
    run("embed", "pool", "--embedder", "hashing:32")
    told = run.json("select", "pool", "--budget", "4", "--kernel", "pairs:foreign")
    view = SelfCovered(ArrayView(values))
    expected = LazyGreedy().maximize(FacilityLocation(view, lower_bound(view)), 4)
    sql = f"select sample_id from selection_items where selection = '{told['id']}' order by rank"
    found = [row["sample_id"] for row in run.json("query", sql)]
    assert found == [ids(run)[k] for k in expected.items]
    with pytest.raises(NotFound, match="foreign"):
        run("select", "pool", "--budget", "4", "--kernel", "pairs:foreing")


def test_a_kernel_of_labels_needs_every_pair(run, tmp_path):
    np.save(tmp_path / "scores.npy", np.ones((12, 3), np.float32))
    run(
        *("import", str(tmp_path / "scores.npy"), "--format", "dattri"),
        *("--identity", manifest(
            tmp_path, kind="pairwise", source_ids="pool.jsonl", target_ids=ids(run)[:3]
        )),
    )  # fmt: skip
    run("embed", "pool", "--embedder", "hashing:32")
    with pytest.raises(Incompatible, match="99 of 144 pairs were never labelled with foreign"):
        run("select", "pool", "--budget", "4", "--kernel", "pairs:foreign")
