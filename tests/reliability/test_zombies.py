"""A writer that was stopped past its lease wakes up fenced: nothing it holds is published."""

from __future__ import annotations

import pytest
from zombies import STEPS, awake, settle

from influence_store.settings import LEASE_VARIABLE


@pytest.mark.parametrize("collect", [False, True], ids=["files kept", "files collected"])
def test_a_writer_stopped_past_its_lease_is_fenced(scene, monkeypatch, collect):
    monkeypatch.setenv(LEASE_VARIABLE, "1")
    steps = STEPS if not collect else STEPS[1:5]
    whole = awake(scene, steps[0], 0, collect=collect)
    for number, step in enumerate(steps[1:], start=1):
        whole.add(awake(scene, step, number, collect=collect))
    whole = settle(scene, whole)
    assert whole.violations == []
    assert whole.counts["sleepers"] == len(steps)
    assert whole.counts["fenced"] + whole.counts["its files were gone"] == len(steps)
