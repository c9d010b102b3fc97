"""Labels that cannot teach: rows 36 and 37 of the bad-input table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from foreign_scores import imported, table

NAN, INF = float("nan"), float("inf")
N = 40


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["N/A"] * N, r"has no column of numbers\n  found: value \(String\)"),
        ([["1"]] * N, "has no column of numbers"),
    ],
)
def test_scores_that_are_no_numbers_are_refused(trial, values, told):
    trial.refused(3, told, *imported(trial, "pointwise", table(trial.ids, value=values)))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.ones((N - 1, N), np.float32), 'holds 39 sources × 40 targets; "source_ids" .* 40 rows'),
        (np.ones((N, N, 2), np.float32), r"has shape \(40, 40, 2\), expected \(sources, targets\)"),
        (np.full((N, N), "N/A"), "holds <U3, expected real numbers"),
        (np.full((N, N), 1j), "holds complex128, expected real numbers"),
        (np.full((N, N), True), "holds bool, expected real numbers"),
        (np.zeros((N, N), "datetime64[s]"), r"holds datetime64\[s\], expected real numbers"),
        (np.zeros((N, N), [("a", "f4")]), r"holds \[\('a', '<f4'\)\], expected real numbers"),
    ],
)
def test_a_matrix_that_is_none_of_real_numbers_is_refused(trial, array, told):
    trial.refused(3, told, *imported(trial, "pairwise", array))


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(trial):
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    command = imported(trial, "pairwise", np.ones((N, N)))
    command[1].write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + shape.ljust(117) + b"\n" + b"x" * 99)
    trial.refused(3, "cannot read .*scores.npy as an array of numbers", *command)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"sample_id": ["11" * 16]}, "none of the samples .* is in the store\n  ingest the data"),
        ({"sample_id": ["zz"]}, "entry 0 is 'zz', expected a sample id of 32 hex digits"),
        ({"sample_id": [""]}, "entry 0 is '', expected a sample id of 32 hex digits"),
        ({"id": ["11" * 16]}, "has no column sample_id; found id, value"),
        ({"sample_id": ["11" * 16], "a\x1b[31m\nb": [1.0]}, r"the column 'a\\x1b\[31m\\nb' cannot"),
    ],
)
def test_scores_of_nobody_are_refused(trial, frame, told):
    frame = {name: values * 1 for name, values in frame.items()}
    content = table(frame.pop("sample_id"), **frame, value=[1.0]) if "sample_id" in frame else None
    if content is None:
        content = table(["x"], value=[1.0]).rename({"sample_id": "id"})
    trial.refused(3, told, *imported(trial, "pointwise", content))


def test_scores_that_are_missing_stay_null_and_infinite_ones_are_counted(trial):
    values = [NAN, INF, -INF, None, *[1.0] * (N - 4)]
    told = trial(*imported(trial, "pointwise", table(trial.ids, value=values)), "--json").json()
    assert told["dropped"] == {"infinite value": 2}
    asked = "select count(*) as n, count(inf_new) as known from pool"
    assert trial("query", "--format", "json", asked).json() == [{"n": N, "known": N - 4}]


def test_a_value_too_large_for_the_store_is_infinite_and_counted(trial):
    values = np.ones((N, N))
    values[1, 2] = 1e300
    told = trial(*imported(trial, "pairwise", values), "--json").json()
    assert told["dropped"] == {"infinite value": 1, "sample paired with itself": N}


def test_the_same_sample_with_two_values_counts_once_and_is_told(trial):
    content = table([trial.ids[0]] * 2, value=[1.0, 2.0])
    told = trial(*imported(trial, "pointwise", content), "--json").json()
    assert (told["added"], told["dropped"]) == (1, {"sample repeated with another value": 1})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1.0] * N, "all 40 scores are 1; there is nothing to learn\n  check the teacher"),
        ([NAN] * N, "0 samples have a usable score, expected at least 30 .dropped: .*unlabelled"),
        ([1.0, 2.0, *[NAN] * (N - 2)], "2 samples have a usable score, expected at least 30"),
    ],
)
def test_scores_that_cannot_teach_are_refused_before_any_training(trial, values, told):
    assert trial(*imported(trial, "pointwise", table(trial.ids, value=values))).code == 0
    _refused_training(trial, told)


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        (np.ones((N, N)), "all 1560 labels are 1; there is nothing to learn"),
        (np.full((N, N), NAN), "labels cover 0 targets and 0 sources, expected at least 2 of each"),
        (
            np.pad([[NAN, 1.0]], ((0, N - 1), (0, N - 2)), constant_values=NAN),
            "cover 1 target and 1",
        ),
    ],
)
def test_pairs_that_cannot_teach_are_refused_before_any_training(trial, matrix, told):
    assert trial(*imported(trial, "pairwise", matrix)).code == 0
    _refused_training(trial, told)


def _refused_training(trial, told: str) -> None:
    before = trial("query", "--format", "json", "select * from estimators").json()
    said = trial("train", "pool", "--method", "new")
    assert said.code == 3
    assert re.search(told, said.err), said.err
    assert trial("query", "--format", "json", "select * from estimators").json() == before
    assert trial("status", "--json").json()["interrupted"] == []
