"""Shards on the workers of a Ray cluster: one actor holds one model, shards come to it.

A worker that dies is replaced, and its shard is done again in a slot of its own: whatever the dead
one wrote, or still writes where only the network failed, lies at paths that nobody will publish.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import warnings
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from influence_store.cores import cores, use_cores
from influence_store.errors import Incompatible, InfluenceStoreError, WorkerLost
from influence_store.execution.reach import check_address, unreachable
from influence_store.extras import require
from influence_store.meter import Meter, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from influence_store.execution.work import HandsT, ResultT, ShardT, Work
    from influence_store.store.runs import Slot

#: Workers that may die of one shard before it is given up.
TRIES = 3
#: Only descriptions of shards pass through it.
_OBJECT_STORE_BYTES = 128 << 20
_PATIENCE_SECONDS = 30.0

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_log = logging.getLogger(__name__)


def resources(device: str) -> dict[str, int]:
    """What Ray reserves for a worker whose model runs on `device`."""
    return {"num_cpus": 1, "num_gpus": int(device.startswith("cuda"))}


class RayExecutor:
    """Workers of the cluster at `address`, or of one on this machine that ends with this object.

    It is started, or joined, for the first shard. `workers` = None: as many as the cluster has
    cores, or GPUs for models that need one. MissingExtra without Ray, UsageError for what is no
    address, Unreachable if nothing answers there.
    """

    elsewhere = True

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.taken = Taken()
        # It would otherwise tell its makers of every start.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._ray = require("ray", extra="ray")
        if address is not None:
            check_address(self._ray, address)
        self._address, self._workers = address, workers
        self._crew: _Crew | None = None
        self._ours = False

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()
        if self._ours:
            self._ray.shutdown()

    @property
    def workers(self) -> int:
        """As many as may take part."""
        return self._workers or int(self._resources().get("CPU", 1))

    def map(
        self,
        work: Work[HandsT, ShardT, ResultT],
        shards: Iterable[ShardT],
        slot: Callable[[], Slot],
        here: HandsT,
    ) -> Iterator[ResultT]:
        """See `Executor.map`; WorkerLost if every worker that was given a shard died."""
        left, done, told, index = iter(shards), {}, 0, 0
        if (first := next(left, None)) is None:
            return
        left = chain([first], left)
        crew = self._crew_for(work)
        queue: deque[_Attempt] = deque()
        whole = False
        try:
            while True:
                while crew.room > len(queue) and (shard := next(left, None)) is not None:
                    queue.append(_Attempt(index, shard))
                    index += 1
                if not queue and not crew.busy:
                    break
                crew.start(queue, slot)
                for attempt, result in crew.wait():
                    if isinstance(result, _Lost):
                        queue.appendleft(attempt.again(result))
                    else:
                        done[attempt.index], taken = result
                        self.taken += taken
                while told in done:
                    yield done.pop(told)
                    told += 1
            whole = True
        finally:
            if not whole:
                self._dismiss()

    def _resources(self) -> dict[str, float]:
        """What the cluster has, by name."""
        if not self._ray.is_initialized():
            self._ours = True
            self._connect(self._address)
        there: dict[str, float] = self._ray.cluster_resources()
        return there

    def _connect(self, address: str | None) -> None:
        own = {"num_cpus": self._workers or cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        how = {"address": "local", **own} if address is None else {"address": address}
        with _same_sigterm(), warnings.catch_warnings():
            # Ray's processes are forked off and start another program at once.
            warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
            try:
                self._ray.init(
                    **how, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
                )
            except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
                why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise unreachable(address or "this machine", why) from error

    def _crew_for(self, work: Any) -> _Crew:
        """The one that has this work's model open already, or a new one."""
        if self._crew is not None and (self._crew.work != work or self._crew.busy):
            self._dismiss()
        if self._crew is None:
            wanted = resources(work.device)
            there = self._resources()
            kind = "GPU" if wanted["num_gpus"] else "CPU"
            if there.get(kind, 0) < 1:
                raise Incompatible(
                    f"the cluster has no {kind}, the model runs on {work.device}",
                    hint="add a machine that has one: ray start --address HOST:PORT",
                )
            self._crew = _Crew(self._ray, work, self._workers or int(there[kind]), wanted)
        return self._crew

    def _dismiss(self) -> None:
        if self._crew is not None:
            self._crew.close()
            self._crew = None


@dataclass(frozen=True)
class _Attempt:
    """A shard, and which workers died of it."""

    index: int
    shard: Any
    deaths: tuple[str, ...] = ()

    def again(self, lost: _Lost) -> _Attempt:
        deaths = (*self.deaths, lost.cause)
        if len(deaths) == TRIES:
            raise WorkerLost(
                f"shard {self.index + 1} ended {TRIES} workers, the last: {lost.cause}",
                hint="too little memory is the usual cause: fewer --workers, or larger machines",
            )
        _log.warning("a worker died (%s); its shard is done again", lost.cause)
        return _Attempt(self.index, self.shard, deaths)


@dataclass(frozen=True)
class _Lost:
    """What came of an attempt whose worker is no more."""

    cause: str


class _Crew:
    """Actors that hold the same work open; each is free, at a shard, or still being started."""

    def __init__(self, ray: Any, work: Any, most: int, wanted: dict[str, int]) -> None:
        self.work = work
        self._ray, self._most = ray, most
        self._make = ray.remote(**wanted)(_Worker)
        self._free: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._at_work: dict[Any, tuple[Any, _Attempt]] = {}
        self._stillborn = 0

    @property
    def busy(self) -> bool:
        """Whether a result is to come."""
        return bool(self._at_work)

    @property
    def room(self) -> int:
        """Shards that could be taken on now, if every worker can be started."""
        return self._most - len(self._at_work)

    def start(self, queue: deque[_Attempt], slot: Callable[[], Slot]) -> None:
        """Give shards of the queue to those who are free, and start others for the rest."""
        while self._free and queue:
            worker, attempt = self._free.pop(), queue.popleft()
            self._at_work[worker.do.remote(attempt.shard, slot())] = worker, attempt
        for _ in range(min(len(queue) - len(self._starting), self.room - len(self._starting))):
            worker = self._make.remote(self.work)
            self._starting[worker.ready.remote()] = worker

    def wait(self) -> Iterator[tuple[_Attempt, Any]]:
        """What came of the attempts that ended; some worker is free afterwards."""
        asked = [*self._at_work, *self._starting]
        ended, _ = self._ray.wait(asked, timeout=_PATIENCE_SECONDS)
        if not ended and not self._at_work:
            _log.warning("no worker could be started so far: is the cluster full?")
        for future in ended:
            if future in self._starting:
                self._started(future)
                continue
            worker, attempt = self._at_work.pop(future)
            result = self._result(future)
            if not isinstance(result, _Lost):
                self._free.append(worker)
            yield attempt, result

    def close(self) -> None:
        """End all of them, whatever they are at."""
        workers = [*self._free, *self._starting.values(), *(w for w, _ in self._at_work.values())]
        for worker in workers:
            self._ray.kill(worker)
        self._free, self._starting, self._at_work = [], {}, {}

    def _started(self, future: Any) -> None:
        worker = self._starting.pop(future)
        try:
            self._ray.get(future)
        except self._ray.exceptions.RayError as error:
            self._stillborn += 1
            if self._stillborn == TRIES:
                raise WorkerLost(
                    f"{TRIES} workers could not be started, the last: {_cause(error)}",
                    hint="every machine needs influence-store, and the model where it is here",
                ) from error
            return
        self._free.append(worker)

    def _result(self, future: Any) -> Any:
        try:
            failed, result, warnings, taken = self._ray.get(future)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            return _Lost(_cause(error))
        for warning in warnings:
            _log.warning("%s", warning)
        if failed:
            raise result
        return result, taken


class _Worker:
    """In a process of its own: the work's hands, opened for the first shard."""

    def __init__(self, work: Any) -> None:
        use_cores(1)  # what was reserved for it
        self._work, self._hands = work, None
        self._heard = _Heard()
        logging.getLogger("influence_store").addHandler(self._heard)

    def ready(self) -> None:
        """Answers as soon as the process runs."""

    def do(self, shard: Any, slot: Any) -> tuple[bool, Any, list[str], Taken]:
        """(failed, result or error of ours, warnings on the way, CPU and GPU seconds)."""
        meter = Meter()
        try:
            if self._hands is None:
                self._hands = self._work.open()
            answer = (False, self._work.do(self._hands, shard, slot))
        except InfluenceStoreError as error:
            answer = (True, error)
        return *answer, self._heard.told(), replace(meter.stop(), wall=0.0)


class _Heard(logging.Handler):
    """Keeps warnings for the driver, who shows them to somebody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{socket.gethostname()}: {record.getMessage()}")

    def told(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


def _cause(error: Exception) -> str:
    """What Ray's long account comes to, in one line: how the process ended, or the last word."""
    text = _COLOUR.sub("", str(error)).strip() or type(error).__name__
    _, told, detail = text.partition("exit detail: ")
    return (detail if told else text.splitlines()[-1].strip()).splitlines()[0][:200]


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts; ours means Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
