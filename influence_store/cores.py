"""How is work on independent pieces shared among the cores this process may use?

One thread per piece and no threads inside one: a result then never depends on how many cores
there were, and a busy machine does not pay for threads that wait for each other (two inside ONNX
Runtime cost twice the CPU seconds *and* twice the time there).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_PIECES = 8

_at_most: list[int] = []


def share(work: Callable[[T], None], items: Iterable[T], *, threads: int | None = None) -> None:
    """Call `work` on every item, several at once; `work` spends its time outside Python's lock.

    `threads` is the number of cores unless given. The first error of a piece is raised.
    """
    waiting = list(items)
    hands = min(threads or cores(), len(waiting))
    if hands < 2:
        for item in waiting:
            work(item)
        return
    workers = ThreadPoolExecutor(hands)
    try:
        for _ in workers.map(work, waiting):
            pass
    finally:
        workers.shutdown(cancel_futures=True)


def parts(n: int, least: int) -> list[slice]:
    """0 … n in up to 8 pieces, none shorter than `least`: work for several threads."""
    size = max(least, -(-n // _PIECES))
    return [slice(k, min(k + size, n)) for k in range(0, n, size)]


def use_cores(number: int) -> None:
    """Let `cores` tell so many from now on: this process is one of several on its machine."""
    _at_most[:] = [number]


def cores() -> int:
    """Cores this process may use; fewer than the machine has inside a container."""
    if _at_most:
        return _at_most[0]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
