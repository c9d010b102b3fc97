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
