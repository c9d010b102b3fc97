"""From `--engine WORD` to an executor."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from influence_store.errors import NotFound, UsageError
from influence_store.execution.local import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.execution.work import Executor

ENGINES = ("local", "ray")


@contextmanager
def open_executor(
    engine: str, address: str | None = None, workers: int | None = None
) -> Iterator[Executor]:
    """The executor called `engine`; what it started ends with the context.

    `address` is that of a Ray cluster, HOST:PORT or auto; None starts one on this machine.
    NotFound for another engine, UsageError for an address without one, MissingExtra without Ray.
    """
    if engine not in ENGINES:
        raise NotFound.named("engine", engine, ENGINES)
    if engine == "local":
        if address is not None or workers is not None:
            raise UsageError("--address and --workers are of a cluster", hint="add: --engine ray")
        yield LOCAL
        return
    from influence_store.execution.ray import RayExecutor

    with RayExecutor(address, workers) as executor:
        yield executor
