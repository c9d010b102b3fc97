"""The seam: what is done to a shard, and who does it.

    Work       open() once per worker: the store, the model; then do(hands, shard, slot) per shard
    Executor   map(work, shards, …): the results in the order of the shards

A shard says what to read (sids), never holds what is read. A worker reads from the store itself,
writes its own blocks at the paths of the slot it was given, and returns what they are; the driver
alone publishes. How shards are cut depends on the question only, never on who works on them, so
every engine leaves the same blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from influence_store.meter import Taken
    from influence_store.store.runs import Slot

HandsT = TypeVar("HandsT")
ShardT = TypeVar("ShardT")
ResultT = TypeVar("ResultT")
HandsInT = TypeVar("HandsInT")
ShardInT = TypeVar("ShardInT", contravariant=True)
ResultOutT = TypeVar("ResultOutT", covariant=True)


class Work(Protocol[HandsInT, ShardInT, ResultOutT]):
    """A small value that can be sent away; equal ones open equal hands."""

    @property
    def device(self) -> str:
        """Where a worker's model runs: "cpu", "cuda", …"""
        ...

    def open(self) -> HandsInT:
        """What a worker needs for all its shards; Incompatible if it is not what the driver has."""
        ...

    def do(self, hands: HandsInT, shard: ShardInT, slot: Slot) -> ResultOutT:
        """Work on one shard; blocks go to paths of `slot`. The same shard gives the same result."""
        ...


class Executor(Protocol):
    """Does work on shards, here or elsewhere."""

    #: Whether others than this process work, and `here` is not touched.
    elsewhere: bool
    #: CPU and GPU seconds that others have taken so far; this process counts its own.
    taken: Taken

    @property
    def workers(self) -> int:
        """How many shards may be at work at once."""
        ...

    def map(
        self,
        work: Work[HandsT, ShardT, ResultT],
        shards: Iterable[ShardT],
        slot: Callable[[], Slot],
        here: HandsT,
    ) -> Iterator[ResultT]:
        """One result per shard, in their order; every attempt at one has a `slot` of its own.

        `shards` is drawn from only when somebody is free, so it may end by the clock. `here` is
        what `work.open()` would give, as this process has it already. Raises what `work` raises.
        """
        ...
