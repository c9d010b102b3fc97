"""`compact`: many small blocks of one column become few; values and versions stay as they are.

Every ingest, and every few thousand rows of work, leaves a block, and a reader opens each of them.
Merged are the blocks of one kind, producer and dataset, in the order of their samples. Facts keep
their age: an estimator learned from the labels that were there when it was trained, so labels from
before and after a training are never put together. What was replaced stays on the disk until `gc`.

Selections, covers, neighbours, leaks and edges of near duplicates stay as they are: a selection or
a search writes one block of each, whatever number of versions there is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlmodel import Session, col, func, select

from influence_store.counted import counted
from influence_store.errors import Fenced
from influence_store.jobs.rewrite import CELLS, PAIRS, Rewritten, merge_cells, merge_pairs
from influence_store.progress import progress
from influence_store.schema.catalog import Block, BlockFile, Dataset, Estimator, Producer, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from influence_store.store.grid import BlockRef
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

#: A block grows to at most so much; what has half of it is left alone.
TARGET_ROWS, TARGET_BYTES = 200_000, 256 << 20


@dataclass(frozen=True)
class Merge:
    """Blocks that become one; those of pairs are groups of one producer, done together."""

    kind: str
    name: str
    groups: tuple[tuple[BlockRef, ...], ...]
    n_bytes: int

    @property
    def blocks(self) -> list[BlockRef]:
        """All of them, oldest first."""
        return [block for group in self.groups for block in group]

    @property
    def n_after(self) -> int:
        """How many blocks are left."""
        if self.kind != PAIRS:
            return 1
        return sum(_n_blocks(sum(block.n_rows for block in group)) for group in self.groups)


@dataclass(frozen=True)
class CompactReport:
    """Per column how many blocks became how many, and what was read and written for it."""

    columns: tuple[dict[str, Any], ...]
    before: int
    after: int
    rows: int
    bytes: int
    planned_only: bool

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {**vars(self), "columns": list(self.columns)}

    def lines(self) -> list[str]:
        """For people."""
        if not self.before:
            return ["nothing to merge: no column has two small blocks"]
        done = "would become" if self.planned_only else "became"
        told = [
            f"{counted(self.before, 'block')} {done} {self.after:,} "
            f"({counted(self.rows, 'row')}, {self.bytes / 1e6:,.1f} MB)"
        ]
        for one in self.columns:
            told.append(
                f"  {one['kind']} {one['name']}".rstrip()
                + f": {one['before']:,} → {one['after']:,}"
            )
        if not self.planned_only:
            told.append("the old ones stay until: influence-store gc")
        return told


def compact(store: Store, dataset: str | None = None, *, plan_only: bool = False) -> CompactReport:
    """Merge the small blocks of the store, or only those that hold rows of `dataset`.

    Each merge is published by itself, so a killed run goes on where it was. Busy while another
    process compacts; Fenced if a block was replaced meanwhile. IntegrityError for damaged blocks.
    """
    bits = None if dataset is None else _rows_of(store, dataset)
    if plan_only:
        return _report(plan(store, bits), planned_only=True)
    with store.claim("compact", "compact", {"dataset": dataset or ""}) as run:
        merges = plan(store, bits)
        with progress("compacting", sum(len(one.blocks) for one in merges), "blocks") as advance:
            for one in merges:
                _merge(store, run, one)
                advance(len(one.blocks))
        report = _report(merges, planned_only=False)
        run.report(report.facts(), {})
    return report


def plan(store: Store, bits: BitMap | None = None) -> list[Merge]:
    """What is worth merging, of blocks that hold one of `bits` where given; reads the catalog."""
    facts = _Facts.of(store)
    merges = []
    for kind in sorted({*CELLS, PAIRS}):
        columns = defaultdict[tuple[int, int], list["BlockRef"]](list)
        for block in store.blocks(kind):
            columns[block.producer_id or 0, block.dataset_id or 0].append(block)
        for (producer_id, dataset_id), blocks in columns.items():
            if bits is not None and not any(block.bits & bits for block in blocks):
                continue
            name = facts.names.get((producer_id, dataset_id), "")
            split = _of_pairs if kind == PAIRS else _of_cells
            for groups in split(blocks, facts):
                size = sum(facts.sizes[block.id] for group in groups for block in group)
                merges.append(Merge(kind, name, groups, size))
    return merges


@dataclass(frozen=True)
class _Facts:
    """What the catalog says of blocks beside their rows: bytes, and what must stay apart."""

    sizes: Mapping[int, int]
    apart: Mapping[int, tuple[str, int]]
    names: Mapping[tuple[int, int], str]

    @classmethod
    def of(cls, store: Store) -> _Facts:
        with store.database.read() as session:
            per_block = select(BlockFile.block_id, func.sum(BlockFile.size))
            sizes = {
                id_: int(size)
                for id_, size in session.exec(per_block.group_by(col(BlockFile.block_id))).all()
            }
            trained = _trainings(session)
            live = select(Block.id, Block.producer_id, Block.origin, Block.published_at).where(
                col(Block.retired_at).is_(None)
            )
            apart = {
                id_: (str(sorted(origin.items())), bisect_left(trained[producer_id or 0], at))
                for id_, producer_id, origin, at in session.exec(live).all()
                if id_ is not None
            }
            producers = session.exec(select(Producer.id, Producer.name)).all()
            datasets = session.exec(select(Dataset.id, Dataset.name)).all()
        names = {(id_ or 0, 0): name for id_, name in producers}
        names.update({(0, id_ or 0): name for id_, name in datasets})
        return cls(sizes, apart, names)


def _trainings(session: Session) -> defaultdict[int, list[float]]:
    """When estimators began to learn from a producer's values; a live run may be doing so."""
    begun = defaultdict[int, list[float]](
        lambda: sorted(session.exec(select(Run.started_at).where(Run.state == "writing")).all())
    )
    query = select(Estimator.method_id, Run.started_at).join(
        Run, col(Run.id) == col(Estimator.run_id)
    )
    for method_id, started_at in session.exec(query).all():
        begun[method_id] = sorted([*begun[method_id], started_at])
    return begun


def _of_cells(
    blocks: Sequence[BlockRef], facts: _Facts
) -> Iterator[tuple[tuple[BlockRef, ...], ...]]:
    """Small blocks in the order of their samples, as many at a time as make up one block."""
    small = [
        block
        for block in blocks
        if block.n_rows < TARGET_ROWS // 2 and facts.sizes[block.id] < TARGET_BYTES // 2
    ]
    small.sort(key=lambda block: (facts.apart[block.id], block.bits.min() if block.bits else -1))
    for _, together in groupby(small, key=lambda block: facts.apart[block.id]):
        for group in _filled(together, facts.sizes):
            if len(group) > 1:
                yield (group,)


def _filled(blocks: Iterable[BlockRef], sizes: Mapping[int, int]) -> Iterator[tuple[BlockRef, ...]]:
    group: list[BlockRef] = []
    rows = size = 0
    for block in blocks:
        rows, size = rows + block.n_rows, size + sizes[block.id]
        if group and (rows > TARGET_ROWS or size > TARGET_BYTES):
            yield tuple(group)
            group, rows, size = [], block.n_rows, sizes[block.id]
        group.append(block)
    if group:
        yield tuple(group)


def _of_pairs(
    blocks: Sequence[BlockRef], facts: _Facts
) -> Iterator[tuple[tuple[BlockRef, ...], ...]]:
    """All or none: the first value of a pair stands, so the order of the blocks must stay."""
    parts = groupby(blocks, key=lambda block: facts.apart[block.id])
    groups = tuple(tuple(part) for _, part in parts)
    after = sum(_n_blocks(sum(block.n_rows for block in group)) for group in groups)
    if 2 * after <= len(blocks):
        yield groups


def _n_blocks(n_rows: int) -> int:
    return max(1, -(-n_rows // TARGET_ROWS))


def _merge(store: Store, run: ActiveRun, merge: Merge) -> None:
    made = (
        merge_pairs(store, run, merge.groups, TARGET_ROWS)
        if merge.kind == PAIRS
        else [merge_cells(store, run, merge.blocks)]
    )

    def more(session: Session, ids: list[int]) -> None:
        keep_age(session, made, ids)
        if merge.kind == PAIRS:
            _refuse_newer(session, merge, set(ids))

    run.publish(
        [one.staged for one in made if one.staged is not None],
        more,
        retire=[block.id for block in merge.blocks],
    )


def keep_age(session: Session, made: Sequence[Rewritten], ids: Sequence[int]) -> None:
    """The new blocks, whose ids are in the order of `made`, are as old as the facts in them."""
    written = [one for one in made if one.staged is not None]
    for one, id_ in zip(written, ids, strict=True):
        session.get_one(Block, id_).published_at = one.published_at


def _refuse_newer(session: Session, merge: Merge, ours: set[int]) -> None:
    """A pair published since would stand before ours, though it came later."""
    live = select(Block.id).where(
        Block.kind == PAIRS,
        Block.producer_id == merge.blocks[0].producer_id,
        col(Block.retired_at).is_(None),
    )
    if set(session.exec(live).all()) - ours:
        raise Fenced(
            f"pairs of {merge.name} were published meanwhile; nothing was merged",
            hint="run the command again",
        )


def _rows_of(store: Store, dataset: str) -> BitMap:
    id_ = store.version(dataset).dataset_id
    held = [version.bits for version in store.versions() if version.dataset_id == id_]
    return BitMap.union(BitMap(), *held)


def _report(merges: Sequence[Merge], *, planned_only: bool) -> CompactReport:
    columns: dict[tuple[str, str], dict[str, Any]] = {}
    for one in merges:
        column = columns.setdefault(
            (one.kind, one.name),
            {"kind": one.kind, "name": one.name, "before": 0, "after": 0, "rows": 0, "bytes": 0},
        )
        column["before"] += len(one.blocks)
        column["after"] += one.n_after
        column["rows"] += sum(block.n_rows for block in one.blocks)
        column["bytes"] += one.n_bytes
    totals = {
        name: sum(column[name] for column in columns.values())
        for name in ("before", "after", "rows", "bytes")
    }
    return CompactReport(tuple(columns.values()), planned_only=planned_only, **totals)
