"""What the tests of engines need in worker processes too, so it is a module and no test."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence_store.errors import ReadError


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


def contents(store, kind):
    """What the blocks of a kind hold, in the order of publication; not who wrote them."""
    from influence_store.store.grid import open_block

    return [
        (block.bits, open_block(store.storage, block).take(range(block.n_rows), names).to_pydict())
        for block in store.blocks(kind)
        for names in [open_block(store.storage, block).schema.names]
    ]
