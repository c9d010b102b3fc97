"""A run's work spread over an engine: results in order, a lost claim told as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.store.runs import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from influence_store.execution.work import Executor, HandsT, ResultT, ShardT, Work
    from influence_store.store.runs import ActiveRun

_END = object()


def no_slot() -> Slot:
    """For `Executor.map` where results are answers and no blocks: nobody writes."""
    return Slot("", 0)


def spread(
    executor: Executor,
    run: ActiveRun,
    work: Work[HandsT, ShardT, ResultT],
    shards: Iterable[ShardT],
    here: HandsT,
) -> Iterator[ResultT]:
    """One result per shard of the run, in their order; see `Executor.map`.

    What workers elsewhere take is counted as the run's. Fenced if a worker failed and the run had
    lost its claim: its files may be gone by then.
    """
    results = executor.map(work, shards, run.slot, here)
    counted = executor.taken
    while True:
        with run.or_fenced():
            result = next(results, _END)
        run.count(executor.taken - counted)
        counted = executor.taken
        if result is _END:
            return
        yield result  # type: ignore[misc]
