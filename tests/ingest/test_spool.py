"""What was read comes back in the order of its sids, whatever that is, and batch by batch."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from influence_store.ingest import spool as spooling
from influence_store.ingest.spool import ReadSettings, spool
from influence_store.schema import tables


@pytest.mark.parametrize("order", ["as read", "scattered", "backwards"])
def test_wanted_rows_come_in_ascending_sids(tmp_path, monkeypatch, order):
    monkeypatch.setattr(spooling, "_BATCH_ROWS", 16)
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": f"ask {k}", "output": f"answer {k}"} for k in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(0)
    sids = {
        "as read": np.arange(100) + 7,
        "scattered": rng.permutation(1000)[:100],
        "backwards": np.arange(100)[::-1] + 3,
    }[order].astype(np.int64)
    wanted = rng.random(100) < 0.7
    with spool(tmp_path / "scratch", [str(path)], ReadSettings()) as spooled:
        batches = list(spooled.batches(tables.SAMPLES, sids, wanted))
        again = list(spooled.batches(tables.ROWS, sids, wanted))
    found = pa.Table.from_batches(batches)
    assert max(batch.num_rows for batch in batches) <= 16
    expected = sorted(np.flatnonzero(wanted).tolist(), key=lambda k: sids[k])
    assert found["sid"].to_pylist() == sids[expected].tolist()
    assert found["prompt"].to_pylist() == [f"ask {k}" for k in expected]
    assert pa.Table.from_batches(again)["line"].to_pylist() == [k + 1 for k in expected]
