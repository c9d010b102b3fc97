"""What does a run take: wall seconds, CPU seconds and seconds with a model on a GPU?

    CPU  all threads of this process, and its child processes that have ended
    GPU  wall seconds during which this process held a model on a GPU, whether it was busy or not:
         an upper bound of what the GPU worked; 0 where no model was ever put on one

Within one verb of the command line every run counts from where the last one ended, so that loading
a model is paid for by the run that asks it. Elsewhere a run counts from its claim. A meter does not
count again what a meter of the same thread inside it has counted: a fine-tuning run is not paid for
twice. Two runs at once in two threads of a process both count the CPU seconds of both, since the
system does not say whose they are.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Taken:
    """Seconds, each ≥ 0."""

    wall: float = 0.0
    cpu: float = 0.0
    gpu: float = 0.0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.wall + other.wall, self.cpu + other.cpu, self.gpu + other.gpu)

    def __sub__(self, other: Taken) -> Taken:
        return Taken(self.wall - other.wall, self.cpu - other.cpu, self.gpu - other.gpu)

    def facts(self) -> dict[str, float]:
        """As written into the cost of a run."""
        return {"seconds": self.wall, "cpu_seconds": self.cpu, "gpu_seconds": self.gpu}


class _Thread(threading.local):
    """`counted` by closed meters of this thread; `since` when nobody counts, within a verb."""

    counted = Taken()
    since: Taken | None = None


_thread = _Thread()
_gpu_since: list[float] = []


def on_gpu() -> None:
    """From now on this process holds a model on a GPU."""
    if not _gpu_since:
        _gpu_since.append(time.monotonic())


@contextmanager
def one_verb() -> Iterator[None]:
    """Let the runs of this thread leave nothing uncounted between them until the end."""
    _thread.since = _now()
    try:
        yield
    finally:
        _thread.since = None


class Meter:
    """Runs until `stop`, from where it is made; within a verb from where the last was stopped."""

    def __init__(self) -> None:
        self._of_verb = _thread.since is not None
        self._from, self._counted = _thread.since or _now(), _thread.counted
        _thread.since = None  # a meter inside this one counts from where it is made

    def read(self) -> Taken:
        """What was taken until now, without what other meters have counted since."""
        return _now() - self._from - (_thread.counted - self._counted)

    def stop(self) -> Taken:
        """The last reading."""
        taken = self.read()
        _thread.counted += taken
        if self._of_verb:
            _thread.since = _now()
        return taken


def _now() -> Taken:
    wall, children = time.monotonic(), os.times()
    cpu = time.process_time() + children.children_user + children.children_system
    return Taken(wall, cpu, wall - _gpu_since[0] if _gpu_since else 0.0)
