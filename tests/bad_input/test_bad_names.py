"""Names of datasets, versions, tags, estimators and samples: rows 26, 27 and 39."""

from __future__ import annotations

import json

import pytest

RULE = r"cannot name a dataset(: the name is taken)?\n  use 1-64 of a-z 0-9 _ -"
NAMES = [
    *("../x", "a/b", "/abs", "..", ".", "", " ", "-rf", "--help", "con", "nul", "com1", "lpt9"),
    *("x" * 65, "x" * 300, "UPPER", "café", "ｐｏｏｌ", "p\u043eol", "a b", "a\nb", "a\0b"),
    *("a\x1b[31m", "pool@1", "latest", "samples", "pairs", "runs", "x.lance"),
    "'; drop table dataset; --",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_be_a_path_an_option_or_a_twin_is_refused(trial, name):
    path = trial.file("a.jsonl", '{"instruction": "a", "output": "b"}\n')
    trial.refused(2, RULE, "ingest", path, f"--dataset={name}")


@pytest.mark.parametrize("tag", ["latest", "7", "", "a b", "-x", "a@b", "a\x1b[31m", "x" * 65])
def test_a_tag_must_be_told_from_a_number_and_typed(trial, tag):
    path = trial.file("a.jsonl", '{"instruction": "a", "output": "b"}\n')
    trial.refused(2, "tag|latest|version number", "ingest", path, "--dataset=pool", f"--tag={tag}")


@pytest.mark.parametrize("name", ["", "a b", "../x", "a\x1b[31m", "x" * 65])
def test_an_estimator_must_have_a_name_that_can_be_a_column(trial, name):
    train = ("train", "pool", "--method", "foreign", f"--name={name}")
    trial.refused(2, "cannot name an estimator", *train)


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("poll", "no dataset named 'poll'; did you mean pool"),
        ("", "no dataset named ''; known: hostile, pool"),
        ("pool@0", "only version 1, not 0"),
        ("pool@2", "only version 1, not 2"),
        ("pool@" + "9" * 30, "only version 1, not 9{30}"),
        ("pool@-1", "no tag of pool named '-1'"),
        ("pool@best", "no tag of pool named 'best'"),
        ("pool@1@1", "no tag of pool named '1@1'"),
        ("po\x1b[31mol", r"no dataset named 'po\\x1b\[31mol'"),
    ],
)
def test_a_version_that_does_not_exist_is_named_with_those_that_do(trial, ref, told):
    trial.refused(4, told, "embed", ref, "--embedder", "hashing:16")


@pytest.mark.parametrize("verb", ["top", "explain"])
def test_a_sample_is_named_by_the_beginning_of_one_id(trial, verb):
    whose = "pool" if verb == "top" else trial.selection
    trial.refused(4, "no sample id begins with 'zz'\n  see: influence", verb, whose, "zz")
    trial.refused(4, "no sample id begins with", verb, whose, "x" * 10_000)
    trial.refused(4, r"no sample id begins with '%\\x1b", verb, whose, "%\x1b[31m")
    some = {one[:1] for one in trial.ids}
    twice = next(a for a in some if sum(one.startswith(a) for one in trial.ids) > 1)
    trial.refused(2, "sample ids begin with .*\n  give more digits", verb, whose, twice)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"sample_id": ""}', "sample_id: found blank text, expected 32 hex digits"),
        ('{"sample_id": 7}', "sample_id: found number 7, expected 32 hex digits"),
        ('{"sample_id": "%s"}' % ("ab" * 5000), "sample_id: found text 'ab.*…', expected 32 hex"),
        (
            '{"sample_id": "%s"}' % ("é" * 32),
            "sample_id: found text 'é{32}', expected 32",
        ),
    ],
)
def test_an_id_to_remove_is_32_hex_digits(trial, line, told):
    path = trial.file("gone.jsonl", line + "\n")
    trial.refused(3, f"gone.jsonl:1: {told}", "ingest", "--removed", path, "--dataset", "pool")


def gone(*ids: str) -> str:
    return "".join(json.dumps({"sample_id": one}) + "\n" for one in ids)


def test_an_id_may_be_written_in_capitals(trial):
    path = trial.file("gone.jsonl", gone(trial.ids[0].upper()))
    told = trial("ingest", "--removed", path, "--dataset", "pool", "--json").json()
    assert (told["removed"], told["removed_unknown"]) == (1, 0)


def test_taking_rows_from_a_dataset_that_is_none_makes_none(trial):
    path = trial.file("gone.jsonl", gone(trial.ids[0]))
    told = "no dataset named 'poll'; did you mean pool"
    trial.refused(4, told, "ingest", "--removed", path, "--dataset", "poll")


def test_a_dataset_is_not_emptied_by_accident(trial):
    path = trial.file("gone.jsonl", gone(*trial.ids))
    told = "pool would have no rows left\n  nothing was changed"
    trial.refused(3, told, "ingest", "--removed", path, "--dataset", "pool")
