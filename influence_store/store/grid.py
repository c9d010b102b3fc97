"""Reading the grid: the cells of some blocks for some sids, as batches or as one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import IntegrityError
from influence_store.store import spill
from influence_store.store.lance import CHUNK_ROWS, PinnedTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from influence_store.protocols import Floats, Ids
    from influence_store.store.storage import Storage

#: Below this share of a block's rows, single rows are fetched instead of scanning the block.
_TAKE_SHARE = 0.02


@dataclass(frozen=True)
class BlockRef:
    """A published block as SQL describes it; `bits` are the sids it speaks for."""

    id: int
    kind: str
    path: str
    lance_version: int
    n_rows: int
    bits: BitMap
    producer_id: int | None
    dataset_id: int | None
    run_id: str


def open_block(storage: Storage, block: BlockRef) -> PinnedTable:
    """Open the block's table at its exact version; IntegrityError if rows are missing."""
    table = PinnedTable(storage, block.path, block.lance_version)
    if (found := table.count()) != block.n_rows:
        raise IntegrityError(
            f"block {block.path} has {found} rows, the catalog vouches for {block.n_rows}",
            hint="see what is damaged: influence-store verify",
        )
    return table


def scan(
    storage: Storage, blocks: Sequence[BlockRef], columns: Sequence[str], sids: BitMap | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of `blocks` whose sid is in `sids` (all when None), only `columns`.

    Block after block, each in ascending sid order; cells a block does not speak for are skipped.
    """
    read = list(dict.fromkeys(["sid", *columns]))
    for block in blocks:
        wanted = block.bits if sids is None else block.bits & sids
        if not wanted:
            continue
        table = open_block(storage, block)
        if len(wanted) < _TAKE_SHARE * block.n_rows and len(block.bits) == block.n_rows:
            batches = _take(table, block.bits, wanted, read)
        else:
            batches = _filter(table, wanted, block.n_rows, read)
        for batch in batches:
            yield batch.select(list(columns))


def matrix(
    storage: Storage,
    blocks: Sequence[BlockRef],
    column: str,
    sids: Ids,
    dim: int,
    scratch: Path,
) -> Floats:
    """`column` (vectors of `dim` float32) of each sid, (len(sids), dim), in the order of `sids`.

    A large one lies in the folder `scratch`. IntegrityError if a sid has no cell: ask `covered`
    first.
    """
    out = spill.zeros((len(sids), dim), scratch)
    seen = np.zeros(len(sids), bool)
    order = np.argsort(sids, kind="stable")
    ordered = sids[order]
    for batch in scan(storage, blocks, ["sid", column], BitMap(sids.astype(np.uint32))):
        places = order[np.searchsorted(ordered, batch["sid"].to_numpy())]
        out[places] = batch[column].flatten().to_numpy().reshape(-1, dim)
        seen[places] = True
    if not seen.all():
        raise IntegrityError(f"{int((~seen).sum())} of {len(sids)} cells of {column} are missing")
    return out


def _filter(
    table: PinnedTable, wanted: BitMap, n_rows: int, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    keep = None if len(wanted) == n_rows else np.asarray(wanted.to_array(), np.int64)
    for batch in table.scan(columns):
        if keep is None:
            yield batch
            continue
        sids = batch["sid"].to_numpy()
        mask = np.isin(sids, keep, assume_unique=True)
        if mask.any():
            yield batch.filter(pa.array(mask))


def _take(
    table: PinnedTable, all_bits: BitMap, wanted: BitMap, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    # Rows lie in ascending sid order, so a sid's position is its rank.
    offsets = [all_bits.rank(sid) - 1 for sid in wanted]
    for k in range(0, len(offsets), CHUNK_ROWS):
        yield from table.take(offsets[k : k + CHUNK_ROWS], columns).to_batches()
