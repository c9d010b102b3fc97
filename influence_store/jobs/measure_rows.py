"""`label` for pointwise and bilinear methods: the rows that lack a cell, shard by shard.

rows in a seeded order → shards by count → measured by whoever is free → published as they come, so
that a killed run loses one shard and pays for nothing twice. What is known is never asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from pyroaring import BitMap

from influence_store.execution import StoreAt, spread
from influence_store.jobs.label_rows import (
    Column,
    Columns,
    batch_of,
    columns_of,
    counts_of,
    groups,
    known_cells,
    measure_together,
)
from influence_store.jobs.label_shards import added, check_same, in_time, shard_sizes, since, total
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.execution import Executor
    from influence_store.jobs.label_shards import MethodsAt
    from influence_store.protocols import Ids
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import ActiveRun, Slot
    from influence_store.store.store import Store

#: Rows per published block, from the first to the largest.
LEAST_ROWS, MOST_ROWS = 8, 1024


@dataclass(frozen=True)
class RowsShard:
    """Per part, the columns (positions) that its rows (sids) all lack."""

    parts: tuple[tuple[tuple[int, ...], BitMap], ...]


@dataclass(frozen=True)
class MeasuredRows:
    """The blocks of a shard; per block its column's position and counts; what was spent on it."""

    blocks: tuple[StagedBlock, ...]
    counts: tuple[tuple[int, dict[str, int]], ...]
    spent: dict[str, int]


@dataclass(frozen=True)
class Measuring:
    """The cells of a shard, a block per column; `fingerprints` are of all columns, in order."""

    store: StoreAt
    methods: MethodsAt
    fingerprints: tuple[str, ...]

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self.methods.device

    def open(self) -> tuple[Store, tuple[Column, ...]]:
        """Incompatible if a column is of another producer than the driver's."""
        store = self.store.open()
        columns = all_of(columns_of(store, self.methods.open(store), register=False))
        check_same([one.producer.fingerprint for one in columns], self.fingerprints)
        return store, columns

    def do(
        self, hands: tuple[Store, tuple[Column, ...]], shard: RowsShard, slot: Slot
    ) -> MeasuredRows:
        """Measure and stage; a row's value may depend on its shard, in the last bits."""
        store, columns = hands
        ledgers = list({id(one.ledger): one.ledger for one in columns}.values())
        before = total(ledgers)
        blocks: list[StagedBlock] = []
        counts = []
        for positions, bits in shard.parts:
            sids, samples = read_samples(store, bits)
            some = [columns[k] for k in positions]
            measured = measure_together(some, samples)
            for k, column, values in zip(positions, some, measured, strict=True):
                batch, kind = batch_of(column, sids, values), column.producer.kind
                blocks.append(
                    stage(
                        store.storage,
                        slot.path(kind, len(blocks) + 1),
                        [batch],
                        batch.schema,
                        kind=kind,
                        bits=bits,
                        producer_id=column.producer.id,
                    )
                )
                counts.append((k, counts_of(values)))
        return MeasuredRows(tuple(blocks), tuple(counts), since(before, total(ledgers)))


@dataclass
class RowsAtWork:
    """Fills columns within one run; `spent` says what that has taken so far."""

    store: Store
    run: ActiveRun
    columns: tuple[Column, ...]
    methods: MethodsAt
    executor: Executor
    spent: dict[str, int] = field(default_factory=dict)

    def fill(self, wanted: Sequence[Column], sids: Ids, deadline: float | None = None) -> None:
        """Measure the cells of `wanted` that `sids` lack, in that order, until `deadline`.

        Columns that can be read off one pass of the LLM are measured together.
        """
        prints = tuple(one.producer.fingerprint for one in self.columns)
        work = Measuring(StoreAt.of(self.store), self.methods, prints)
        places = {id(column): k for k, column in enumerate(self.columns)}
        for group in groups(wanted):
            known = {places[id(column)]: known_cells(self.store, column) for column in group}
            for column, cells in zip(group, known.values(), strict=True):
                column.reused += sum(sid in cells for sid in sids.tolist())
            todo = [sid for sid in sids.tolist() if any(sid not in c for c in known.values())]
            shards = _shards(todo, known, deadline)
            label = " + ".join(column.name for column in group)
            with progress(label, len(todo), "rows") as advance:
                hands = (self.store, self.columns)
                for done in spread(self.executor, self.run, work, shards, hands):
                    self._publish(done)
                    advance(len(BitMap.union(*(block.bits for block in done.blocks))))

    def _publish(self, done: MeasuredRows) -> None:
        self.spent = added(self.spent, done.spent)
        for k, counts in done.counts:
            self.columns[k].count(counts)
        self.run.publish(done.blocks, spent=self.spent)


def all_of(columns: Columns) -> tuple[Column, ...]:
    """Every column, in an order that any machine gives the same methods."""
    return (*columns.points, *columns.sources, *columns.targets)


def _shards(
    todo: Sequence[int], known: dict[int, BitMap], deadline: float | None
) -> Iterator[RowsShard]:
    """Of the rows `todo`, which all lack something; no more once the time is over."""
    left = iter(todo)
    for size in shard_sizes(LEAST_ROWS, MOST_ROWS):
        if not in_time(deadline) or not (rows := list(islice(left, size))):
            return
        parts: dict[tuple[int, ...], list[int]] = {}
        for sid in rows:
            lacking = tuple(k for k, cells in known.items() if sid not in cells)
            parts.setdefault(lacking, []).append(sid)
        yield RowsShard(tuple((k, BitMap(sids)) for k, sids in parts.items()))
