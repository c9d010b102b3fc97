from __future__ import annotations

import json

import pytest

from influence_store.errors import NotFound
from influence_store.jobs.attributes import attributes
from influence_store.jobs.ingest import ingest
from influence_store.jobs.samples import read_samples


@pytest.fixture
def told(store, tmp_path):
    """Ingests records as the next version of a dataset, from a file of the given name."""

    def ingested(dataset, file, records):
        path = tmp_path / file
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        ingest(store, [str(path)], dataset)
        return store.version(dataset)

    return ingested


def row(k, **extra):
    return {"instruction": f"question {k}", "input": "", "output": f"answer {k}", **extra}


def by_question(store, version, name):
    """What each question has, read from the texts."""
    _, samples = read_samples(store, version.bits)
    found = attributes(store, version, name)
    return dict(zip([one.prompt.split()[-1] for one in samples], found, strict=True))


def test_a_key_of_the_records_is_an_attribute(store, told):
    version = told(
        "demo",
        "rows.jsonl",
        [
            row(0, source="web", licence="mit"),
            row(1, source="books"),
            row(2, licence="cc-by"),
            row(3),
        ],
    )
    assert by_question(store, version, "source") == {
        "0": "web",
        "1": "books",
        "2": "(none)",
        "3": "(none)",
    }
    assert by_question(store, version, "licence")["2"] == "cc-by"


@pytest.mark.parametrize(
    ("value", "told_as"),
    [
        (3, "3"),
        (True, "true"),
        (0.5, "0.5"),
        (["b", "a"], '["b","a"]'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        (None, "(none)"),
        ("", "(none)"),
        ("  ", "(none)"),
        ("Ünï=code:x", "Ünï=code:x"),
    ],
)
def test_a_value_that_is_no_text_stands_as_json(store, told, value, told_as):
    version = told("demo", "rows.jsonl", [row(0, mark=value), row(1, mark="x")])
    assert by_question(store, version, "mark") == {"0": told_as, "1": "x"}


def test_files_and_datasets_are_where_a_content_came_from_first(store, told, tmp_path):
    told("old", "old.jsonl", [row(k) for k in range(3)])
    told("demo", "a.jsonl", [row(2, source="a"), row(3, source="a")])
    version = told("demo", "b.jsonl", [row(3, source="b"), row(4, source="b")])
    told("late", "late.jsonl", [row(3, source="late"), row(4, source="late")])
    files = by_question(store, version, "file")
    assert files == {
        k: str(tmp_path / f) for k, f in [("2", "a.jsonl"), ("3", "a.jsonl"), ("4", "b.jsonl")]
    }
    assert by_question(store, version, "dataset") == {"2": "old", "3": "demo", "4": "demo"}
    # The origin is that of this dataset, whatever others say of the same content.
    assert by_question(store, version, "source") == {"2": "a", "3": "a", "4": "b"}


def test_an_older_version_keeps_its_own_rows(store, told):
    first = told("demo", "a.jsonl", [row(0, source="a"), row(1, source="a")])
    told("demo", "b.jsonl", [row(2, source="b")])
    assert attributes(store, first, "source") == ["a", "a"]


def test_an_attribute_that_no_sample_has_is_answered_with_those_there_are(store, told):
    version = told("demo", "a.jsonl", [row(0, license="mit"), row(1, topic="x")])
    with pytest.raises(NotFound, match="did you mean license"):
        attributes(store, version, "licence")
    with pytest.raises(NotFound, match="known: dataset, file, license, topic"):
        attributes(store, version, "zzz")


def test_a_key_of_another_version_only_is_not_known(store, told):
    first = told("demo", "a.jsonl", [row(0)])
    told("demo", "b.jsonl", [row(1, source="b")])
    with pytest.raises(NotFound, match="no attribute named 'source'"):
        attributes(store, first, "source")
