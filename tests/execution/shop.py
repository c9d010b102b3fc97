"""What the tests of engines need in worker processes too, so it is a module and no test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from influence_store.errors import ReadError
from influence_store.jobs.inspection import Inspector
from influence_store.meter import Taken
from influence_store.store.store import Store


@dataclass(frozen=True)
class Dying:
    """Some other work, whose worker ends by `kill -9` once a shard is written but not told.

    So many workers die as there are files to be taken out of `folder`.
    """

    inner: Any
    folder: str

    @property
    def device(self):
        return self.inner.device

    def open(self):
        return self.inner.open()

    def do(self, hands, shard, slot):
        result = self.inner.do(hands, shard, slot)
        for file in Path(self.folder).iterdir():
            try:
                file.unlink()
            except FileNotFoundError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@dataclass(frozen=True)
class Deadly:
    """An executor whose workers die, as `Dying` says."""

    inner: Any
    folder: str
    elsewhere: bool = True

    @property
    def taken(self):
        return self.inner.taken

    @property
    def workers(self):
        return self.inner.workers

    def map(self, work, shards, slot, here):
        return self.inner.map(Dying(work, self.folder), shards, slot, here)


class Sent:
    """An executor that sends works, shards and results as bytes, and works in this process."""

    elsewhere, workers, taken = True, 1, Taken()

    def map(self, work, shards, slot, here):
        arrived = sent(work)
        assert arrived == work
        hands = arrived.open()
        for shard in shards:
            yield sent(arrived.do(hands, sent(shard), slot()))
        for one in hands if isinstance(hands, tuple) else (hands,):
            if isinstance(one, Store):
                one.database.close()
            elif isinstance(one, Inspector):
                one.close()


def sent(value):
    """`value` as it arrives in another process."""
    return ForkingPickler.loads(ForkingPickler.dumps(value))


@dataclass(frozen=True)
class Killing:
    """Some inspection, whose child process ends by `kill -9` over the block or artifact `owner`."""

    inner: Any
    owner: str

    @property
    def device(self):
        return self.inner.device

    def open(self):
        return self.inner.open()

    def do(self, inspector, record, slot):
        if record.owner != self.owner:
            return self.inner.do(inspector, record, slot)
        inspector.close()  # a child that knows of nothing
        os.environ["INFLUENCE_STORE_KILL_AT"] = "inspecting"
        try:
            return self.inner.do(inspector, record, slot)
        finally:
            del os.environ["INFLUENCE_STORE_KILL_AT"]


@dataclass(frozen=True)
class Murderous:
    """An executor whose inspections end as `Killing` says."""

    inner: Any
    owner: str

    @property
    def workers(self):
        return self.inner.workers

    def map(self, work, shards, slot, here):
        return self.inner.map(Killing(work, self.owner), shards, slot, here)


@dataclass(frozen=True)
class Refusing:
    """Raises one of our errors, of a class whose constructor takes something else than a text."""

    device: str = "cpu"

    def open(self):
        return None

    def do(self, hands, shard, slot):
        if shard == 3:
            raise ReadError("rows.jsonl:4", "no object", hint="mend that line")
        return json.dumps(shard)


@dataclass(frozen=True)
class CountingCores:
    """Tells how many cores a worker takes itself to have."""

    device: str = "cpu"

    def open(self):
        return None

    def do(self, hands, shard, slot):
        from influence_store.cores import cores

        return cores()


def with_rows(store, n_rows, folder, *, too_long=0):
    """The store, with so many rows as `demo`; the first `too_long` no small LLM reads whole."""
    from influence_store.jobs.ingest import ingest

    rows = [
        {"instruction": f"What is {k} by {k % 7}?", "output": f"{k} words"} for k in range(n_rows)
    ]
    for row in rows[:too_long]:
        row["output"] *= 500
    path = folder / "demo.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(store, [str(path)], "demo")
    return store


@contextmanager
def command(store, *words, **options):
    """A verb as a process of its own, whose shards are of eight rows; ends with the context.

    Yields it, and what still runs of it and of all that it started: command lines by pid.
    """
    mark = f"INFLUENCE_STORE_TEST_MARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    code = "from influence_store.jobs import embed; embed.CHUNK_ROWS = 8\n"
    code += "from influence_store.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--store", store.uri, *words],
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process, lambda: running(mark)
        finally:
            process.kill()


def running(mark):
    """Command lines, by pid, of the processes whose environment holds `mark`."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                line = (folder / "cmdline").read_bytes()
                found[int(folder.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_until(true, seconds):
    """Poll; AssertionError when it does not become true in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def contents(store, kind):
    """What the blocks of a kind hold, in the order of publication; not who wrote them."""
    from influence_store.store.grid import open_block

    return [
        (block.bits, open_block(store.storage, block).take(range(block.n_rows), names).to_pydict())
        for block in store.blocks(kind)
        for names in [open_block(store.storage, block).schema.names]
    ]
