"""A full disk ends a write with exit 6, leaves what stood before, and stops nothing for good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("disk_full.py")
OWN_NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def _can_mount() -> bool:
    try:
        probe = [*OWN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _can_mount(), reason="no mount namespace of our own here")
def test_a_full_disk_is_exit_6_and_the_old_state_stands(tmp_path):
    done = subprocess.run(
        [*OWN_NAMESPACE, sys.executable, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    for one in told:
        assert one["violations"] == [], one
        assert one["again"] == 0, one
        assert one["exit"] in (0, 6), one
        assert "Traceback" not in one["told"], one
    assert {one["exit"] for one in told} == {0, 6}
    # With no room for SQLite's own few kB not even reading works, and says so.
    assert [bool(one["unreadable"]) for one in told] == [True, False, False, False]
