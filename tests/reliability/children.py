"""Processes that tests kill: forked from a warm parent, so that one costs 20 ms and not 4 s.

`multiprocessing`'s fork server is the parent. It has imported everything and run nothing, hence
has no threads that a fork could lose, which a fork of the test process itself would have.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

#: What the warm parent has imported; `warm_torch` adds torch for the verbs that need it.
_PRELOADED = ["warm"]


def preload(*modules: str) -> None:
    """Let the warm parent import these too; has no effect once the first child was started."""
    _PRELOADED.extend(module for module in modules if module not in _PRELOADED)


def start(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that runs `work(*arguments)`; `work` must be a function of a module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with _search_path():
        multiprocessing.forkserver.ensure_running()
    process = context.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 300) -> int:
    """Wait for the end and return the exit code; a process that hangs is killed: AssertionError."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"process {process.pid} was still at work after {seconds:.0f} s")
    return process.exitcode


def run(work: Callable[..., None], *arguments: Any) -> int:
    """Start, wait, and return the exit code: negative = the signal that ended it."""
    return finish(start(work, *arguments))


def wait_until(true: Callable[[], bool], seconds: float = 300, pause: float = 0.005) -> None:
    """Poll every `pause` seconds; AssertionError when it does not become true in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(pause)


@contextmanager
def _search_path() -> Iterator[None]:
    """The fork server finds modules where this process does (Python 3.11 does not pass it on)."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
