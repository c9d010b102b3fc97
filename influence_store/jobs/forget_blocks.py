"""Which blocks hold rows of samples that are to be forgotten, and what replaces them?

Looked at are the files, not the bitmaps alone: a file may hold a row that its block does not speak
for, because another run was first with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap
from sqlmodel import col, func, select

from influence_store.errors import IntegrityError
from influence_store.jobs.compact import TARGET_ROWS
from influence_store.jobs.rewrite import CELLS, PAIRS, filtered, merge_cells, merge_pairs
from influence_store.schema.catalog import Block, Estimator, Producer, Run
from influence_store.store.grid import open_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from influence_store.jobs.rewrite import Rewritten
    from influence_store.store.grid import BlockRef
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

#: Kinds that are searched for again when somebody asks; a row of them speaks of many samples.
DERIVED = ("neighbours", "leaks", "cover")
EDGES, ITEMS = "duplicates", "selection"


@dataclass(frozen=True)
class Without:
    """The store without the samples `gone`: `made` replaces blocks, `dropped` has no successor.

    `rows` counts what is left out, by kind; `alike` are samples that nearly repeat one that goes;
    `last_block` is the newest block that was looked at.
    """

    made: tuple[Rewritten, ...]
    dropped: tuple[BlockRef, ...]
    rows: dict[str, int]
    alike: BitMap
    last_block: int


def without(store: Store, run: ActiveRun, gone: BitMap) -> Without:
    """Stage what replaces every live block that holds a row of `gone`."""
    with store.database.read() as session:
        last = session.exec(select(func.max(Block.id))).one() or 0
        live = select(Block.kind).where(col(Block.retired_at).is_(None))
        kinds = sorted(session.exec(live.distinct()).all())
    made: list[Rewritten] = []
    dropped: list[BlockRef] = []
    rows: Counter[str] = Counter()
    alike = _twins(store, gone)
    for kind in kinds:
        if kind in DERIVED:
            dropped += _derived(store, kind, gone)
            continue
        for one in _rewritten(store, run, kind, gone):
            made.append(one)
            before = sum(block.n_rows for block in one.old)
            rows[kind] += before - (one.staged.n_rows if one.staged else 0)
    return Without(tuple(made), tuple(dropped), dict(rows), alike, last)


def learned_from(store: Store, gone: BitMap) -> list[str]:
    """Estimators whose teacher had measured one of `gone` when they were trained."""
    with store.database.read() as session:
        query = select(Estimator, Run.started_at).join(Run, col(Run.id) == col(Estimator.run_id))
        trained = session.exec(query).all()
        producers = {one.id: one for one in session.exec(select(Producer)).all()}
        published = dict(session.exec(select(Block.id, Block.published_at)).all())
    found = []
    for row, started_at in trained:
        method, made = producers[row.method_id], producers[row.producer_id]
        sides = ("source", "target") if method.kind == PAIRS else ("sid",)
        labels = store.blocks(method.kind, producer_id=method.id)
        before = [block for block in labels if published[block.id] <= started_at]
        if any(_holds(store, block, sides, gone) for block in before):
            found.append(f"{made.name} ({made.fingerprint[:12]})")
    return found


def _rewritten(store: Store, run: ActiveRun, kind: str, gone: BitMap) -> Iterator[Rewritten]:
    """What replaces the blocks of a kind that hold a row of `gone`."""
    blocks = store.blocks(kind)
    if kind == PAIRS:
        for producer_id in sorted({block.producer_id or 0 for block in blocks}):
            ours = [block for block in blocks if block.producer_id == producer_id]
            if any(_holds(store, block, ("source", "target"), gone) for block in ours):
                # The first value of a pair stands, so the blocks behind must stay behind.
                yield from merge_pairs(store, run, [(one,) for one in ours], TARGET_ROWS, gone)
        return
    for block in blocks:
        if kind in CELLS:
            if _holds(store, block, ("sid",), gone):
                yield merge_cells(store, run, [block], gone)
        elif kind in (EDGES, ITEMS):
            sides = ("sid", "twin") if kind == EDGES else ("sid",)
            if block.bits & gone or _holds(store, block, sides, gone):
                yield filtered(store, run, block, _without(sides, gone), gone)
        else:
            raise IntegrityError(
                f"this program cannot forget rows of kind {kind}", hint="upgrade influence-store"
            )


def _holds(store: Store, block: BlockRef, sides: Sequence[str], gone: BitMap) -> bool:
    """Whether the file has a row of `gone`, also one that the block does not speak for."""
    if sides == ("sid",) and len(block.bits) == block.n_rows:
        return bool(block.bits & gone)
    keep = _without(sides, gone)
    batches = open_block(store.storage, block).scan(sides)
    return any(not keep(batch).all() for batch in batches)


def _without(
    sides: Sequence[str], gone: BitMap
) -> Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]:
    sids = np.asarray(gone.to_array(), np.int64)

    def keep(rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        # A side may be null: nobody.
        found = [np.isin(rows[side].fill_null(-1).to_numpy(), sids) for side in sides]
        named: npt.NDArray[np.bool_] = np.logical_or.reduce(found)
        return ~named

    return keep


def _derived(store: Store, kind: str, gone: BitMap) -> list[BlockRef]:
    """The blocks that know of `gone`; of an index, all."""
    blocks = store.blocks(kind)
    if kind == "cover":
        sides = ("sid", "best", "second")
        return [one for one in blocks if one.bits & gone or _holds(store, one, sides, gone)]
    if kind == "leaks":
        return [one for one in blocks if _leak_knows(store, one, gone)]
    knowing = {one.producer_id for one in blocks if one.bits & gone}
    return [one for one in blocks if one.producer_id in knowing]


def _leak_knows(store: Store, block: BlockRef, gone: BitMap) -> bool:
    """Pool or target held one; the commonest run of words, which is told, is of the target."""
    if block.bits & gone or _holds(store, block, ("sid", "target"), gone):
        return True
    with store.database.read() as session:
        target = session.get_one(Run, block.run_id).params.get("target", "")
        dataset, _, number = str(target).partition("@")
    versions = [one for one in store.versions() if str(one) == f"{dataset}@{number}"]
    # A target that was deleted since cannot be looked into: better one list too many is dropped.
    return not versions or any(one.bits & gone for one in versions)


def _twins(store: Store, gone: BitMap) -> BitMap:
    """The samples that nearly repeat one of `gone`, as far as rows were compared."""
    found = BitMap()
    sids = np.asarray(gone.to_array(), np.int64)
    for block in store.blocks(EDGES):
        for batch in open_block(store.storage, block).scan(["sid", "twin"]):
            a, b = batch["sid"].to_numpy(), batch["twin"].to_numpy()
            others = np.concatenate([b[np.isin(a, sids)], a[np.isin(b, sids)]])
            found |= BitMap(np.unique(others).astype(np.uint32))
    return found - gone
