"""Bytes that change between the program and the disk are noticed before anybody relies on them."""

from __future__ import annotations

import pytest
from damage import flip
from history import Journal
from kills import Outcome, judge
from workload import ingest, operation

from influence_store.errors import IntegrityError
from influence_store.store import blocks


@pytest.mark.parametrize("kind", ["samples", "rows"])
def test_a_block_that_reads_back_differently_is_not_published(scene, monkeypatch, kind):
    raw = scene.place.raw
    before = set(raw.sizes())

    def change_what_was_written(name):
        data = [
            path
            for path in raw.sizes()
            if path.startswith(f"blocks/{kind}/") and "/data/" in path and path not in before
        ]
        if name == "block-written" and data:
            # Not any bit: some of a file are padding, which nobody reads.
            flip(raw, data[0], bit=8 * raw.read(data[0]).index(b"number"))

    journal = Journal(scene.journals, "writer")
    with scene.place.opened() as store:
        ingest(store, operation(0, 0, 0), scene.inputs, journal)
        before |= set(raw.sizes())
        monkeypatch.setattr(blocks, "step", change_what_was_written)
        with pytest.raises(IntegrityError, match="nothing was published"):
            ingest(store, operation(0, 1, 0), scene.inputs, journal)
        monkeypatch.undo()
        ingest(store, operation(0, 2, 0), scene.inputs, journal)
    journal.close()
    outcome = judge(scene, Outcome())
    assert outcome.violations == []
    assert outcome.counts["versions"] == 2
