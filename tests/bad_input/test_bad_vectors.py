"""Vectors that are none, and embedders that are others than they seem: rows 29 to 35."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from foreign_scores import imported, vector_table

from influence_store.embedding.vectors import unit_rows
from influence_store.errors import InputError
from influence_store.jobs.embed import embed
from influence_store.protocols import Encoded
from influence_store.store.store import Store
from influence_store.version import __version__

NAN, INF = float("nan"), float("inf")


class Odd:
    """An embedder that promises four numbers and gives what it was told to."""

    name, dim = "odd", 4
    facts = {"engine": "odd", "template": "{prompt}\n{response}"}  # noqa: RUF012

    def __init__(self, third) -> None:
        self._third = third

    def encode(self, texts):
        rows = np.ones((len(texts), np.size(self._third)), np.float32)
        rows[2] = self._third
        return Encoded(rows, np.zeros(len(texts), np.bool_))


@pytest.mark.parametrize(
    ("third", "told"),
    [
        ([1, NAN, 1, 1], "gives a vector of NaN, infinity or only zeros"),
        ([1, INF, 1, 1], "gives a vector of NaN, infinity or only zeros"),
        ([0, 0, 0, 0], "gives a vector of NaN, infinity or only zeros"),
        ([1] * 5, r"gives vectors of shape \(40, 5\), it promised \(40, 4\)"),
        ([1], r"gives vectors of shape \(40, 1\), it promised \(40, 4\)"),
    ],
)
def test_an_embedder_that_does_not_keep_its_promise_leaves_no_trace(trial, third, told):
    store = Store.open(trial.uri, __version__)
    version = store.version("pool")
    with pytest.raises(Exception, match=told) as caught:
        embed(store, version, Odd(third), "odd")
    store.database.close()
    assert caught.value.exit_code == (3 if len(third) == 4 else 8)
    if len(third) == 4:
        assert str(caught.value).startswith(f"sample {trial.ids[2]}: odd ")
    trial.unharmed()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("third", [[NAN, 1], [INF, 1], [-INF, 1], [0, 0], [70_000, 1]])
def test_a_unit_vector_needs_a_finite_length_above_zero(dtype, third):
    with np.errstate(over="ignore"):
        raw = np.array([[1, 0], [3, 4], third], dtype)
    if np.isfinite(raw).all() and raw[2].any():
        assert np.allclose(np.linalg.norm(unit_rows(raw, "e"), axis=1), 1)
    else:
        with pytest.raises(InputError, match=r"the vector of text 2 is (not finite|all zero)"):
            unit_rows(raw, "e")


@pytest.mark.parametrize(
    ("third", "why"),
    [
        ([1.0, NAN, 1.0, 1.0], "a missing value"),
        ([1.0, None, 1.0, 1.0], "a missing value"),
        (None, "a missing value"),
        ([1.0, INF, 1.0, 1.0], "an infinite value"),
        ([1.0, 1e300, 1.0, 1.0], "an infinite value"),
    ],
)
def test_a_foreign_vector_that_is_not_finite_is_counted_and_never_found(trial, third, why):
    command = imported(trial, "bilinear", vector_table(trial.ids, third))
    told = trial(*command, "--json").json()
    assert told["dropped"] == {f"{side} vector with {why}": 1 for side in ("source", "target")}
    best = trial("top", "pool", trial.ids[0], "--method", "new", "-k", "99", "--json").json()
    found = {row["sample_id"] for row in best["rows"]}
    assert found == set(trial.ids) - {trial.ids[0], trial.ids[2]}


def test_foreign_vectors_of_no_one_width_or_no_numbers_are_refused(trial):
    empty = pl.Series([[]] * 40, dtype=pl.List(pl.Float32))
    cases = {
        r"vectors have \[0\] dimensions, expected one width": empty,
        "vector holds String, expected numbers": [["a", "b"]] * 40,
        "vector is String, expected a list of numbers": ["a"] * 40,
        "vector is Null, expected a list of numbers": [None] * 40,
    }
    tables = {
        told: pl.DataFrame({"sample_id": trial.ids, "vector": v}) for told, v in cases.items()
    }
    ragged = vector_table(trial.ids, [1.0, 1.0])
    for told, vectors in {r"vectors have \[2, 4\] dimensions": ragged, **tables}.items():
        trial.refused(3, told, *imported(trial, "bilinear", vectors))


@pytest.mark.parametrize(
    "dim", ["0", "1", "-3", "x", "16385", "9" * 12, " 16", "１６", "16\x1b[31m"]
)
def test_a_dimension_that_makes_no_sense_is_refused(trial, dim):
    told = "expected a dimension of at least 2, at most 16,384"
    trial.refused(2, told, "embed", "pool", "--embedder", f"hashing:{dim}")


def test_vectors_of_two_embedders_are_never_compared_though_they_are_as_wide(trial):
    """`hostile` has hashing:16 only; a new embedder of that dimension is another column."""
    store = Store.open(trial.uri, __version__)
    odd = Odd([1, 2, 3, 4])
    embed(store, store.version("pool"), odd, "odd")
    store.database.close()
    said = trial("select", "pool", "--budget", "3", "--target", "hostile", "--kernel", "cosine")
    assert said.code == 0  # by the embedder that both have
    odd.facts = {**odd.facts, "engine": "odder"}
    store = Store.open(trial.uri, __version__)
    assert embed(store, store.version("pool"), odd, "odd").computed == 40
    store.database.close()


def test_an_embedder_that_became_another_one_is_refused_by_fingerprint(trial, monkeypatch):
    """The dataset was embedded with what the same spec no longer gives."""
    monkeypatch.setattr("influence_store.embedding.hashing.RECIPE", 2)
    path = trial.file("a.jsonl", '{"instruction": "new", "output": "row"}\n')
    said = trial("ingest", path, "--dataset", "pool")
    assert said.code == 8
    assert "the embedder at hashing:16 now has another fingerprint" in said.err
    assert "embed the dataset anew: influence-store embed" in said.err
    status = trial("status", "--json").json()  # the rows stand; only their columns wait
    assert status["interrupted"] == []
    (pool,) = (one for one in status["datasets"] if one["dataset"] == "pool")
    assert {one["missing"] for one in pool["columns"]} == {1}


def test_an_estimator_never_reads_the_vectors_of_another_embedder(trial):
    path = trial.file("a.jsonl", '{"instruction": "other", "output": "data"}\n')
    assert trial("ingest", path, "--dataset", "other").code == 0
    assert trial("embed", "other", "--embedder", "hashing:8").code == 0
    said = trial("fill", "other", "--estimator", "guess")
    assert said.code == 8
    assert "guess reads hashing-16" in said.err
    assert "which 1 row of other@1 does not have" in said.err
    assert trial("status", "--json").json()["interrupted"] == []
