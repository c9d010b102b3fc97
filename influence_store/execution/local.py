"""One shard after the other, in this process: the engine unless another is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.meter import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from influence_store.execution.work import HandsT, ResultT, ShardT, Work
    from influence_store.store.runs import Slot


class LocalExecutor:
    """Works with what this process has open; starts nothing."""

    elsewhere = False
    workers = 1
    taken = Taken()

    def map(
        self,
        work: Work[HandsT, ShardT, ResultT],
        shards: Iterable[ShardT],
        slot: Callable[[], Slot],
        here: HandsT,
    ) -> Iterator[ResultT]:
        """See `Executor.map`."""
        for shard in shards:
            yield work.do(here, shard, slot())


LOCAL = LocalExecutor()
