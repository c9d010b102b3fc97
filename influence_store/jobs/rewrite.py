"""How are stored rows written anew: the same values in fewer blocks, or without some samples?

What is read is compared with the checksum that the catalog vouches for, so a damaged block is
never copied into one that looks sound. Rows pass in streams, a few thousand of a block at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import InfluenceStoreError, IntegrityError
from influence_store.schema.catalog import Block
from influence_store.store.blocks import Checksum
from influence_store.store.grid import open_block
from influence_store.store.lance import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from influence_store.protocols import Ids
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.grid import BlockRef
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

    Flags = npt.NDArray[np.bool_]

#: Kinds with one row per sample, in ascending order of sid: any of their blocks can be merged.
CELLS = frozenset(
    (
        *("samples", "rows", "embedding", "llm-state", "points", "vectors", "estimate"),
        *("tokens", "minhash", "trial"),
    )
)
PAIRS = "pairs"
_NOBODY = BitMap()


@dataclass(frozen=True)
class Rewritten:
    """`staged` speaks for what `old` spoke for; its facts were published at `published_at`."""

    old: tuple[BlockRef, ...]
    staged: StagedBlock | None
    published_at: float


def merge_cells(
    store: Store, run: ActiveRun, blocks: Sequence[BlockRef], without: BitMap = _NOBODY
) -> Rewritten:
    """One block of kind in CELLS with the rows that `blocks` speak for, but not for `without`.

    IntegrityError if a block is not what was published, if one lacks a row that it speaks for, or
    if two speak for one sample.
    """
    vouched = _vouched(store, blocks)
    streams = [
        _Rows(store, block, vouched[block.id].checksum, bits)
        for block in blocks
        if (bits := block.bits - without)
    ]
    if not streams:
        return Rewritten(tuple(blocks), None, _latest(vouched))
    bits = BitMap.union(BitMap(), *[stream.bits for stream in streams])
    schema = open_block(store.storage, blocks[0]).schema
    staged = _staged(run, blocks[0], _in_order(streams), schema, bits, vouched)
    if staged.n_rows != len(bits):
        raise IntegrityError(
            f"{len(blocks)} blocks of kind {blocks[0].kind} speak for {len(bits)} samples but hold "
            f"{staged.n_rows}; nothing was published",
            hint="see what is damaged: influence-store verify --deep",
        )
    return Rewritten(tuple(blocks), staged, _latest(vouched))


def merge_pairs(
    store: Store,
    run: ActiveRun,
    groups: Sequence[Sequence[BlockRef]],
    n_rows: int,
    without: BitMap = _NOBODY,
) -> list[Rewritten]:
    """All pairs of one producer anew: each group of blocks as blocks of at most `n_rows` rows.

    Of several values of a pair the first stands, so `groups` are all of the producer's blocks in
    the order of publication. Pairs with a side in `without` are left out.
    """
    blocks = [block for group in groups for block in group]
    vouched, made = _vouched(store, blocks), list[Rewritten]()
    source, target = _sides(store, blocks)
    kept = _first_of_pairs(source, target) & ~_among(source, without) & ~_among(target, without)
    before = 0
    for group in groups:
        at = _latest({block.id: vouched[block.id] for block in group})
        made.append(Rewritten(tuple(group), None, at))
        said = BitMap.union(BitMap(), *[block.bits for block in group])
        size = sum(block.n_rows for block in group)
        chosen = np.flatnonzero(kept[before : before + size])
        for start in range(0, len(chosen), n_rows):
            part = chosen[start : start + n_rows]
            both = np.concatenate([source[before + part], target[before + part]])
            bits = said & BitMap(np.unique(both).astype(np.uint32))
            schema = open_block(store.storage, group[0]).schema
            batches = _at(_all_rows(store, group, vouched), part)
            made.append(Rewritten((), _staged(run, group[0], batches, schema, bits, vouched), at))
        before += size
    return made


def filtered(
    store: Store,
    run: ActiveRun,
    block: BlockRef,
    keep: Callable[[pa.RecordBatch], Flags],
    without: BitMap,
) -> Rewritten:
    """`block` with the rows that `keep` says, speaking for all it did but `without`."""
    vouched = _vouched(store, [block])
    bits = block.bits - without
    if not bits:
        return Rewritten((block,), None, _latest(vouched))
    schema = open_block(store.storage, block).schema
    batches = (rows.filter(pa.array(keep(rows))) for rows in _all_rows(store, [block], vouched))
    staged = _staged(run, block, batches, schema, bits, vouched)
    return Rewritten((block,), staged, _latest(vouched))


# -- what is read --------------------------------------------------------------------------------


def _vouched(store: Store, blocks: Iterable[BlockRef]) -> dict[int, Block]:
    with store.database.read() as session:
        return {block.id: session.get_one(Block, block.id) for block in blocks}


def _latest(vouched: dict[int, Block]) -> float:
    return max(row.published_at for row in vouched.values())


def _checked(store: Store, block: BlockRef, checksum: str) -> Iterator[pa.RecordBatch]:
    """All rows of a block; IntegrityError at its end if they are not those that were published."""
    table = open_block(store.storage, block)
    found = Checksum(table.schema)
    for batch in table.scan(table.schema.names):
        found.update(batch)
        yield batch
    if found.hexdigest() != checksum:
        raise IntegrityError(
            f"block {block.path} reads back differently from what was published; it was not copied",
            hint="see what is damaged: influence-store verify --deep",
        )


def _all_rows(
    store: Store, blocks: Iterable[BlockRef], vouched: dict[int, Block]
) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        yield from _checked(store, block, vouched[block.id].checksum)


@dataclass
class _Rows:
    """The rows of one block that count, read when they are needed; `batch` are the next ones."""

    store: Store
    block: BlockRef
    checksum: str
    bits: BitMap
    batch: pa.RecordBatch | None = None
    _rest: Iterator[pa.RecordBatch] = field(init=False)
    _last: int = -1

    def __post_init__(self) -> None:
        self._rest = _checked(self.store, self.block, self.checksum)
        self._wanted = np.asarray(self.bits.to_array(), np.int64)

    @property
    def start(self) -> int:
        """No row that counts has a lower sid."""
        return int(self.bits.min())

    def advance(self) -> None:
        """The next rows that count; None at the end."""
        for batch in self._rest:
            sids = batch["sid"].to_numpy()
            if np.any(np.diff(sids, prepend=self._last) <= 0):
                raise IntegrityError(
                    f"the rows of block {self.block.path} are not in order",
                    hint="see what is damaged: influence-store verify --deep",
                )
            self._last = int(sids[-1])
            counts = np.isin(sids, self._wanted, assume_unique=True)
            if counts.any():
                self.batch = batch if counts.all() else batch.filter(pa.array(counts))
                return
        self.batch = None

    def up_to(self, bound: int) -> pa.RecordBatch:
        """The rows at hand with sids up to `bound`; what follows is at hand then."""
        assert self.batch is not None
        n = int(np.searchsorted(self.batch["sid"].to_numpy(), bound, side="right"))
        taken, self.batch = self.batch.slice(0, n), self.batch.slice(n)
        if not self.batch.num_rows:
            self.advance()
        return taken


def _in_order(streams: Iterable[_Rows]) -> Iterator[pa.RecordBatch]:
    """The rows of all streams, ascending; a stream is opened when the order reaches it."""
    waiting, reading = sorted(streams, key=lambda one: one.start, reverse=True), list[_Rows]()
    while waiting or reading:
        while waiting and (not reading or waiting[-1].start <= _bound(reading)):
            reading += _begun(waiting.pop())
        if not reading:
            continue
        bound = _bound(reading)
        parts = [part for one in reading if (part := one.up_to(bound)).num_rows]
        reading = [one for one in reading if one.batch is not None]
        if len(parts) == 1:
            yield parts[0]
            continue
        table = pa.Table.from_batches(parts)
        yield from table.take(pa.array(np.argsort(table["sid"].to_numpy()))).to_batches()


def _begun(stream: _Rows) -> list[_Rows]:
    stream.advance()
    return [stream] if stream.batch is not None else []


def _bound(reading: Sequence[_Rows]) -> int:
    """Up to this sid every open stream has its rows at hand."""
    return min(int(one.batch["sid"][-1].as_py()) for one in reading if one.batch is not None)


def _sides(store: Store, blocks: Iterable[BlockRef]) -> tuple[Ids, Ids]:
    """Source and target of every stored pair, block after block."""
    found = [
        (batch["source"].to_numpy(), batch["target"].to_numpy())
        for block in blocks
        for batch in open_block(store.storage, block).scan(["source", "target"])
    ]
    nothing = np.zeros(0, np.int64)
    return (
        np.concatenate([nothing, *[one for one, _ in found]]),
        np.concatenate([nothing, *[one for _, one in found]]),
    )


def _first_of_pairs(source: Ids, target: Ids) -> Flags:
    kept = np.zeros(len(source), np.bool_)
    kept[np.unique(source << 32 | target, return_index=True)[1]] = True
    return kept


def _among(sids: Ids, some: BitMap) -> Flags:
    return np.isin(sids, np.asarray(some.to_array(), np.int64))


def _at(batches: Iterable[pa.RecordBatch], places: Ids) -> Iterator[pa.RecordBatch]:
    """The rows at `places`, ascending, counted over all batches; every batch is read."""
    passed = 0
    for batch in batches:
        first, last = np.searchsorted(places, [passed, passed + batch.num_rows])
        if last > first:
            yield batch.take(pa.array(places[first:last] - passed))
        passed += batch.num_rows


# -- what is written -----------------------------------------------------------------------------


def _staged(
    run: ActiveRun,
    like: BlockRef,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    bits: BitMap,
    vouched: dict[int, Block],
) -> StagedBlock:
    broken: list[InfluenceStoreError] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from _chunked(batches, schema)
        except InfluenceStoreError as error:
            broken.append(error)
            raise

    try:
        return run.stage(
            like.kind,
            watched(),
            schema,
            bits,
            producer_id=like.producer_id,
            dataset_id=like.dataset_id,
            origin=vouched[like.id].origin or None,
        )
    except RuntimeError as error:
        # LanceDB draws the rows through C and makes a RuntimeError of whatever happens there.
        raise (broken[0] if broken else error) from None


def _chunked(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at least CHUNK_ROWS: a thousand small ones are slow to read."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= CHUNK_ROWS:
            yield _joined(waiting, schema)
            waiting = []
    if waiting:
        yield _joined(waiting, schema)


def _joined(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)
