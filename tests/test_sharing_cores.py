from __future__ import annotations

import os
import threading

import pytest

from influence_store.cores import cores, share


@pytest.mark.parametrize("threads", [None, 1, 2, 50])
def test_every_item_is_done_once(threads):
    done = []
    share(done.append, iter(range(37)), threads=threads)
    assert sorted(done) == list(range(37))
    share(done.append, [], threads=threads)
    assert len(done) == 37


def test_items_are_worked_on_at_the_same_time():
    meeting = threading.Barrier(3)
    share(lambda _: meeting.wait(timeout=20), range(3), threads=3)  # alone, the first would wait


def test_one_item_needs_no_thread():
    seen = []
    share(lambda _: seen.append(threading.current_thread()), [0], threads=8)
    assert seen == [threading.current_thread()]


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_of_a_piece_is_raised(threads):
    def work(k):
        if k == 3:
            raise ValueError(f"piece {k}")

    with pytest.raises(ValueError, match="piece 3"):
        share(work, range(9), threads=threads)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_are_those_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
