"""A command that works on Ray is stopped: what it published stays, and nothing goes on working."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from shop import command, contents, wait_until, with_rows

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.jobs import embed as embed_job
from influence_store.jobs.embed import embed
from influence_store.jobs.gc import gc
from influence_store.jobs.verify_store import verify_store
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc"),
]
ROWS = 800
EMBED = ("embed", "demo", "--embedder", "hashing:8", "--engine", "ray", "--workers", "2")


@pytest.fixture
def demo(needs_ray, store, tmp_path, monkeypatch):
    """`demo` of a hundred shards."""
    monkeypatch.setattr(embed_job, "CHUNK_ROWS", 8)
    return with_rows(store, ROWS, tmp_path)


def go_on(store):
    return embed(store, store.version("demo"), HashingEmbedder(8), "hashing:8")


def some_blocks(store):
    return len(store.blocks("embedding")) >= 3


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)],
    ids=["Ctrl-C in a terminal", "SIGTERM"],
)
def test_an_interrupted_command_ends_with_130_and_all_its_processes_with_it(demo, number, send):
    with command(demo, *EMBED, start_new_session=True) as (process, left):
        wait_until(lambda: some_blocks(demo), 120)
        send(process.pid, number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "what was published stays. To go on: influence-store" in told
        assert "Traceback" not in told
        wait_until(lambda: left() == {}, 30)
    kept = len(demo.blocks("embedding"))
    report = go_on(demo)
    assert report.reused == 8 * kept
    assert report.computed + report.reused == ROWS


def test_when_the_driver_is_killed_its_workers_end_and_the_next_command_need_not_wait(
    demo, copy_store, tmp_path
):
    copied = Store.open(copy_store(demo.uri, tmp_path / "copy"), __version__)
    with command(demo, *EMBED) as (process, left):
        wait_until(lambda: some_blocks(demo), 120)
        process.kill()
        process.wait()
        report = go_on(demo)  # while workers may still write
        assert report.reused >= 3 * 8
        # Two of Ray's own watchers may take a minute, but they neither compute nor write.
        wait_until(lambda: all("Agent" in line for line in left().values()), 30)
    go_on(copied)
    assert contents(demo, "embedding") == contents(copied, "embedding")
    gc(demo, grace=0, act=True)
    after = verify_store(demo, deep=True)
    assert (after.problems, after.leftover_files) == ([], 0)
    copied.database.close()
