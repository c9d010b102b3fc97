"""The Parquet file holds what the samples say and where they came from, in batches."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from export_samples import ALL, MULTI, SYSTEM, exported, rows_for

from influence_store.exporters.hf import export_hf
from influence_store.exporters.messages import plain_messages
from influence_store.exporters.parquet import COLUMNS, export_parquet
from influence_store.schema.sample import Sample


@pytest.mark.parametrize("form", ["parquet", "hf"])
def test_every_row_says_what_its_sample_says(tmp_path, form):
    out = exported(tmp_path / "out", form, ALL)
    told = pq.read_table(out / "train.parquet").to_pylist()
    for row, one in zip(told, rows_for(ALL), strict=True):
        sample = one.sample
        assert row == {
            "rank": one.rank,
            "gain": one.gain,
            "sample_id": one.sample_id,
            "file": "chats.jsonl",
            "line": one.line,
            "prompt": sample.prompt,
            "response": sample.response,
            "system": sample.system,
            "messages": plain_messages(sample),
            "tools": sample.tools or None,
        }
        assert list(row) == list(COLUMNS)


def test_the_types_do_not_depend_on_the_rows(tmp_path):
    first = exported(tmp_path / "a", "parquet", [SYSTEM])
    second = exported(tmp_path / "b", "parquet", ALL)
    assert pq.read_schema(first / "train.parquet") == pq.read_schema(second / "train.parquet")


@pytest.mark.parametrize(("samples", "groups"), [([MULTI] * 2500, 3), ([MULTI] * 1024, 1)])
def test_rows_are_written_a_thousand_at_a_time(tmp_path, samples, groups):
    out = exported(tmp_path / "out", "parquet", samples)
    facts = pq.read_metadata(out / "train.parquet")
    assert (facts.num_row_groups, facts.num_rows) == (groups, len(samples))


def test_long_texts_make_smaller_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("influence_store.exporters.parquet._BATCH_CHARACTERS", 150)
    out = exported(tmp_path / "out", "parquet", [Sample.of("x" * 99, "y")] * 4)
    assert pq.read_metadata(out / "train.parquet").num_row_groups == 2


def test_a_failure_midway_leaves_no_table(tmp_path):
    def failing():
        yield from rows_for([MULTI] * 1500)
        raise RuntimeError("the disk was pulled out")

    with pytest.raises(RuntimeError, match="pulled out"):
        export_parquet(failing(), tmp_path / "out", {})
    assert list(tmp_path.iterdir()) == []


def test_the_card_tells_the_provenance_and_cannot_be_broken_by_it(tmp_path):
    provenance = {"dataset": "a|b\n---\nx: y", "version": 3, "kernel": None}
    out = export_hf(rows_for([MULTI]), tmp_path / "out", provenance)
    card = (out / "README.md").read_text()
    assert "| dataset | a\\|b --- x: y |\n" in card
    assert "| version | 3 |\n" in card
    assert card.splitlines().count("---") == 2
    assert all(f"| `{name}` |" in card for name in COLUMNS)
    assert json.loads((out / "manifest.json").read_text())["files"]["README.md"]["rows"] > 20
