"""`kill -9` at random, two writers of one dataset beside a reader and a collector."""

from __future__ import annotations

from kills import kill_at_random

#: `soak.py --kills 1000` is the real thing; here it is shown that it works.
KILLS = 60


def test_random_kills_lose_and_tear_nothing(places, tmp_path):
    outcome = kill_at_random(places, tmp_path, KILLS, seed=0, told=lambda _outcome: None)
    assert outcome.violations == []
    assert outcome.counts["kills"] == KILLS
    assert outcome.counts["inside work of a writer"] > 0
    assert outcome.counts["ingests acknowledged"] > 2
