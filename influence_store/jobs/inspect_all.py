"""Who looks into blocks: this process, or the workers of a cluster, each with a child of its own.

A child that dies is a block's doing, and a problem to tell. A worker that dies is a machine's, and
another one looks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.execution import LOCAL, StoreAt, no_slot
from influence_store.jobs.inspection import Inspector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.execution import Executor
    from influence_store.jobs.inspection import Finding, Record
    from influence_store.store.runs import Slot
    from influence_store.store.store import Store


@dataclass(frozen=True)
class Inspecting:
    """The long look at one block after the other, by whoever is free; writes nothing."""

    store: StoreAt
    advisory: str
    max_mb_per_s: float | None
    device: str = "cpu"

    def open(self) -> Inspector:
        """StoreNotFound where this machine does not see the store: all of it would seem lost."""
        store = self.store.open()
        store.database.close()
        return Inspector(store.storage.uri, self.advisory, self.max_mb_per_s)

    def do(self, inspector: Inspector, shard: Record, _slot: Slot) -> list[Finding]:
        """See `Inspector.look`."""
        return inspector.look(shard)


def inspect_all(
    store: Store,
    records: Sequence[Record],
    *,
    advisory: str = "",
    max_mb_per_s: float | None = None,
    executor: Executor = LOCAL,
) -> Iterator[tuple[Record, list[Finding]]]:
    """`inspect` each of `records`, in processes that may die of it.

    `max_mb_per_s` is what all workers may read together. StorageError if the place cannot be read,
    or no process can be started.
    """
    each = None if max_mb_per_s is None else max_mb_per_s / executor.workers
    work = Inspecting(StoreAt.of(store), advisory, each)
    with Inspector(store.storage.uri, advisory, each) as here:
        found = executor.map(work, records, no_slot, here)
        yield from zip(records, found, strict=True)
