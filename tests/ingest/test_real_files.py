"""The real data sets read without a single reject."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from influence_store.ingest import Row, read
from influence_store.schema.identity import sample_id

BESIDE = Path(__file__).resolve().parents[2] / "../shared/data"
DATA = Path(os.environ.get("INFLUENCE_STORE_TEST_DATA") or BESIDE)

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="set INFLUENCE_STORE_TEST_DATA to a data folder"),
]


@pytest.mark.parametrize(("name", "n"), [("gsm8k_train", 7473), ("alpaca_demo", 985)])
def test_all_rows_are_samples_and_none_is_a_duplicate(name, n):
    rows = list(read([DATA / f"{name}.jsonl.gz"]))
    assert all(isinstance(row, Row) for row in rows)
    assert [row.line for row in rows] == list(range(1, n + 1))
    assert len({sample_id(row.sample) for row in rows}) == n
    assert {tuple(row.extra) for row in rows} == {("source",)}
