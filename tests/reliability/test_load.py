"""Sixteen readers, two writers and a collector at once: every read is whole (P3)."""

from __future__ import annotations

import load
import pytest
from history import read_journals

#: `soak.py --load-minutes 60` is the real thing. A store gets slower with every version.
READS, STORES = 2_000, 3


@pytest.mark.slow
def test_reads_beside_writers_are_whole_and_never_go_back(places, tmp_path):
    outcome = load.load(places, tmp_path, reads=READS, stores=STORES)
    assert outcome.violations == []
    assert outcome.counts["reads"] >= READS
    assert outcome.counts["versions"] >= 2 * STORES
    journals = read_journals(tmp_path / "scene-0" / "journals")
    readers = {event["by"] for event in journals if event["what"] == "read"}
    assert len(readers) == load.READERS
