"""A kill before any system call that changes a file leaves the old state or the new one, whole."""

from __future__ import annotations

import pytest
import straced
from crashes import crash_at, points, prepared, replayed

pytestmark = pytest.mark.skipif(bool(straced.works()), reason=straced.works() or "strace works")

#: Of the points found: all of them are `soak.py --crash-points`.
EVERY, REALLY_KILLED = 2, 5


def test_a_kill_between_any_two_system_calls_leaves_no_torn_state(scene):
    if scene.place.backend != "sqlite":
        pytest.skip("replays a local folder; test_random_kills has the other places")
    outcome = replayed(prepared(scene), EVERY)
    assert outcome.violations == []
    assert outcome.counts["points"] >= 90


def test_a_kill_at_a_system_call_leaves_no_torn_state(places, scene):
    if places.name == "s3":
        pytest.skip("an object storage is written by requests, not by system calls")
    prepared(scene)
    found = points(places, scene)
    assert len(found) >= 90
    outcome = crash_at(places, scene, found[:: len(found) // REALLY_KILLED])
    assert outcome.violations == []
    assert outcome.counts["points"] >= REALLY_KILLED - 2
