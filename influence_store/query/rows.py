"""The columns of contents, read from the blocks that hold them: only those asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from influence_store.schema import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyroaring import BitMap

    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.grid import BlockRef
    from influence_store.store.store import Store

TEXT = ["sample_id", "prompt", "response", "system", "prompt_chars", "response_chars"]
ORIGIN = ["file", "line", "extra"]
SID = "sid"


def read_rows(
    store: Store,
    bits: BitMap,
    wanted: Sequence[str],
    cells: Mapping[str, tuple[Producer, str]],
    dataset_id: int | None = None,
) -> pa.Table:
    """The `wanted` columns of the contents `bits`, a row each in the order of their sids.

    Of the texts, of where `dataset_id` got them from, and of `cells`: name → producer and stored
    column. Null where a content has no such cell. `sid` itself may be wanted.
    """
    sids = np.asarray(bits.to_array(), np.int64)
    columns = {SID: pa.chunked_array([sids])}
    for blocks, schema, stored in _sources(store, wanted, cells, dataset_id):
        names = [SID, *stored.values()]
        batches = store.scan(blocks, names, bits)
        found = pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in names]))
        found = found.rename_columns([SID, *stored])
        columns |= {name: _shown(one, name) for name, one in _aligned(found, sids).items()}
    return pa.table({name: columns[name] for name in wanted})


def _sources(
    store: Store,
    wanted: Sequence[str],
    cells: Mapping[str, tuple[Producer, str]],
    dataset_id: int | None,
) -> Iterator[tuple[list[BlockRef], pa.Schema, dict[str, str]]]:
    """Blocks that are scanned once, and the columns wanted of them: name → stored column."""
    if texts := {name: name for name in wanted if name in TEXT}:
        yield store.blocks("samples"), tables.SAMPLES, texts
    if origin := {name: name for name in wanted if name in ORIGIN}:
        yield store.blocks("rows", dataset_id=dataset_id), tables.ROWS, origin
    producers = {cells[name][0].id: cells[name][0] for name in wanted if name in cells}
    for producer in producers.values():
        stored = {
            name: cells[name][1]
            for name in wanted
            if name in cells and cells[name][0].id == producer.id
        }
        blocks = store.blocks(producer.kind, producer_id=producer.id)
        yield blocks, schema_of(producer, [*stored.values()]), stored


def schema_of(producer: Producer, columns: Sequence[str]) -> pa.Schema:
    """Of the blocks of a producer of numbers or vectors; `columns` are outputs, if it measures."""
    if producer.kind == "points":
        return tables.points(columns)
    return tables.estimate(1) if producer.kind == "estimate" else tables.embedding(producer.dim)


def _aligned(found: pa.Table, sids: Ids) -> dict[str, pa.ChunkedArray]:
    """One row per sid: as it is where it is so already, which is what most datasets are."""
    there = found[SID].to_numpy()
    if not np.array_equal(there, sids):
        place = np.full(len(sids), -1, np.int64)
        place[np.searchsorted(sids, there)] = np.arange(len(there))
        rows = pl.Series(place).set(pl.Series(place < 0), None)
        found = pl.DataFrame(pl.from_arrow(found)).select(pl.all().gather(rows)).to_arrow()
    return {name: found[name] for name in found.column_names if name != SID}


def _shown(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A sample id is shown in hex."""
    if name != "sample_id":
        return column
    ids = pl.Series(pl.from_arrow(column)).cast(pl.Binary)
    return pa.chunked_array([ids.bin.encode("hex").to_arrow()])
