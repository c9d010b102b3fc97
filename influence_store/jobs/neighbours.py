"""Who is nearest to whom among the rows of a version? Stored once, read by every selection.

A block says of each of its rows, as facts that never change: its k nearest among all rows known
when it was indexed, and which of the rows indexed before count it among their own k nearest. The
lists of all rows follow from the blocks, in whatever order the rows came: exactly those that one
search over all rows with the same cells gives.

A version is read from the blocks up to the one that made it complete; what is indexed later
changes none of its lists. Cells fit the rows that they were made from: once a dataset has twice as
many, or a quarter of the listed rows belong to other versions, a new producer makes new cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import Incompatible
from influence_store.schema import tables
from influence_store.schema.identity import fingerprint
from influence_store.selection.neighbours.cells import PROBES, Cells, default_cells, train_cells
from influence_store.selection.neighbours.index import Neighbours, check_unit
from influence_store.selection.neighbours.search import Edges, Lists, enter, search
from influence_store.selection.tiles import pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Artifact, Producer
    from influence_store.selection.neighbours.search import Found
    from influence_store.store.grid import BlockRef
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

    Ints = npt.NDArray[np.int32]

KIND, NAME = "neighbours", "cosine"
K = 64
#: Rows per published block, about: what a kill can cost.
CHUNK_ROWS = 131_072
_GROWTH, _STRANGERS = 2, 0.25


def neighbours(
    store: Store,
    embedder: Producer,
    version: Version,
    vectors: Floats | None = None,
    *,
    k: int = K,
    seed: int = 0,
) -> Neighbours:
    """The index of the version's rows by cosine of `embedder`, positions in the order of its sids.

    `vectors` (n, dim) are those of the version's rows, if they are at hand: not read again.

    Only rows that no block covers are searched for, and their lists stored. Incompatible if rows
    have no vector of `embedder`; Busy while another process indexes the dataset.
    """
    if lacking := len(store.missing(version, embedder)):
        raise Incompatible(
            f"{counted(lacking, 'row')} of {version} {agree(lacking, 'has', 'have')} no vector "
            f"of {embedder.name}",
            hint=f"run: influence-store embed {version}, with exactly that embedder",
        )
    wanted = {"of": embedder.fingerprint, "dataset": version.dataset, "k": k, "seed": seed}
    index = _fitting(store, version, wanted)
    if index is None or index.missing:
        scope = f"{KIND}:{embedder.fingerprint}:{version.dataset}"
        with store.claim(KIND, scope, {"dataset": str(version), "k": k}) as run:
            index = _complete(store, run, _Read(store, embedder, version, vectors), wanted)
            run.report({"neighbours": index.producer.fingerprint}, {})
    return _read(store, index, version)


@dataclass(frozen=True)
class _Index:
    """A producer of lists, the blocks that matter to a version, and what these leave open."""

    producer: Producer
    blocks: list[BlockRef]
    known: BitMap
    missing: BitMap

    @classmethod
    def of(cls, store: Store, producer: Producer, version: Version) -> _Index:
        """With the blocks up to the one that makes the version complete, if there is one."""
        taken, known = [], BitMap()
        for block in store.blocks(KIND, producer_id=producer.id):
            if not version.bits - known:
                break
            taken.append(block)
            known |= block.bits
        return cls(producer, taken, known, version.bits - known)

    def fits(self, version: Version) -> bool:
        """Whether the cells suit the version and few of the known rows are strangers to it."""
        strangers, rows = len(self.known - version.bits), len(version.bits)
        return (
            strangers <= _STRANGERS * rows
            and strangers + rows <= _GROWTH * self.producer.facts["trained_on"]
        )


def _fitting(store: Store, version: Version, wanted: Mapping[str, Any]) -> _Index | None:
    """The index that leaves the least to do, the oldest of equals; None if none fits."""
    found = [
        index
        for producer in store.producers(KIND)
        if wanted.items() <= producer.facts.items()
        and (index := _Index.of(store, producer, version)).blocks
        and index.fits(version)
    ]
    return min(found, key=lambda index: len(index.missing), default=None)


@dataclass(frozen=True, eq=False)
class _Read:
    """The rows of a version and, unless None, their vectors by `embedder`."""

    store: Store
    embedder: Producer
    version: Version
    vectors: Floats | None

    def of(self, sids: Ids) -> Floats:
        """One vector per sid, read where they are not at hand."""
        if self.vectors is not None and np.array_equal(sids, self.version.sids):
            return self.vectors
        return self.store.vectors(self.embedder, sids)


def _complete(store: Store, run: ActiveRun, read: _Read, wanted: Mapping[str, Any]) -> _Index:
    """Search for what is missing, cell by cell, and publish it in blocks."""
    version = read.version
    index, artifacts = _fitting(store, version, wanted), list[Any]()
    if index is None:
        index, artifact = _founded(store, read, wanted)
        artifacts.append(artifact)
    producer, k = index.producer, wanted["k"]
    cells = _cells(store, producer)
    sids = np.asarray((index.known | version.bits).to_array(), np.int64)
    vectors = read.of(sids)
    check_unit(vectors)
    is_new = np.isin(sids, np.asarray(index.missing.to_array(), np.int64), assume_unique=True)
    cell = np.empty(len(sids), np.int32)
    cell[~is_new] = _column(store, index, "cell")
    cell[is_new] = cells.of(pick(vectors, np.flatnonzero(is_new)))
    known = _lists(store, index, sids, k) if index.blocks else None
    for rows in _chunks(cell, is_new):
        found = search(vectors, cell, cells, rows, k, known=known)
        batch = _batch(found, sids, cell, cells.typical(vectors[rows]))
        bits = BitMap(sids[rows].astype(np.uint32))
        block = run.stage(KIND, [batch], batch.schema, bits, producer_id=producer.id)
        run.publish([block], artifacts=artifacts)
    return _Index.of(store, producer, version)


def _founded(store: Store, read: _Read, wanted: Mapping[str, Any]) -> tuple[_Index, Artifact]:
    """A new producer with cells made from the rows of the version."""
    version = read.version
    vectors = read.of(version.sids)
    cells = train_cells(vectors, default_cells(len(vectors)), PROBES, seed=wanted["seed"])
    held = BytesIO()
    np.save(held, np.vstack([cells.centroids, cells.mean]), allow_pickle=False)
    artifact = store.put_artifact(held.getvalue(), "centroids")
    facts = {
        **wanted,
        "cells": cells.n,
        "probes": cells.probes,
        "centroids": artifact.sha256,
        "trained_on": len(vectors),
        "rows": fingerprint({"bits": version.bits.serialize().hex()}),
    }
    producer = store.producer(KIND, NAME, facts, dim=wanted["k"], higher_means="neither")
    return _Index.of(store, producer, version), artifact


def _cells(store: Store, producer: Producer) -> Cells:
    content = store.get_artifact(producer.facts["centroids"])
    held = np.load(BytesIO(content), allow_pickle=False)
    return Cells(held[:-1], held[-1], producer.facts["probes"])


def _chunks(cell: Ints, is_new: npt.NDArray[np.bool_]) -> Iterator[Ids]:
    """The new rows in whole cells, as many cells at a time as make up a block; each ascending."""
    rows = np.flatnonzero(is_new)
    before = np.cumsum(np.bincount(cell[rows]))
    part = np.searchsorted(np.arange(CHUNK_ROWS, before[-1] + CHUNK_ROWS, CHUNK_ROWS), before)
    of_row = part[cell[rows]]
    for number in np.unique(of_row):
        yield rows[of_row == number]


def _read(store: Store, index: _Index, version: Version) -> Neighbours:
    """The lists of the version's rows; rows of other versions leave gaps and the reach as it is."""
    facts = {**index.producer.facts, "producer": index.producer.fingerprint}
    sids = np.asarray(index.known.to_array(), np.int64)
    typical = _column(store, index, "typical")
    whole = Neighbours.of(_lists(store, index, sids, facts["k"]), typical, facts)
    if len(sids) == len(version.bits):
        return whole
    ours = np.isin(sids, version.sids, assume_unique=True)
    position = np.full(len(sids) + 1, -1, np.int32)  # the last place stands for −1, nobody
    position[:-1][ours] = np.arange(len(version.bits))
    sources = position[whole.index[ours]]
    similarity = np.where(sources >= 0, whole.similarity[ours], np.float32(-np.inf))
    return Neighbours(sources, similarity, whole.reach[ours], typical[ours], facts)


def _lists(store: Store, index: _Index, sids: Ids, k: int) -> Lists:
    """The lists after all blocks of `index`, in positions of `sids`, among which all are."""
    position = np.full(int(sids[-1]) + 2, -1, np.int32)
    position[sids] = np.arange(len(sids))
    lists, edges = Lists.empty(len(sids), k), []
    columns = [field.name for field in tables.neighbours(k)]
    for batch in store.scan(index.blocks, columns):
        rows = position[batch["sid"].to_numpy()]
        sources = batch["sources"].flatten().to_numpy().reshape(-1, k)
        lists.sources[rows] = position[sources]
        lists.values[rows] = batch["similarities"].flatten().to_numpy().reshape(-1, k)
        targets, counts = _unpacked(batch["targets"], np.int32)
        value, _ = _unpacked(batch["target_similarities"], np.float32)
        edges.append(Edges(position[targets], np.repeat(rows, counts), value))
    for one in edges:
        enter(lists, one)
    return lists


def _column(store: Store, index: _Index, name: str) -> npt.NDArray[Any]:
    """A column of numbers of the known rows, by ascending sid."""
    batches = list(store.scan(index.blocks, ["sid", name]))
    if not batches:
        return np.empty(0)
    table = pa.Table.from_batches(batches)
    values: npt.NDArray[Any] = table[name].to_numpy()[np.argsort(table["sid"].to_numpy())]
    return values


def _batch(found: Found, sids: Ids, cell: Ints, typical: Floats) -> pa.RecordBatch:
    k = found.lists.sources.shape[1]
    sid_of = np.append(sids, -1).astype(np.int32)  # −1, nobody, stays −1
    order = np.lexsort((found.edges.target, found.edges.source))
    counts = np.bincount(found.edges.source, minlength=len(sids))[found.rows]
    columns = [
        pa.array(sids[found.rows]),
        pa.array(cell[found.rows]),
        pa.array(typical),
        pa.FixedSizeListArray.from_arrays(pa.array(sid_of[found.lists.sources].ravel()), k),
        pa.FixedSizeListArray.from_arrays(pa.array(found.lists.values.ravel()), k),
        _packed(sid_of[found.edges.target[order]], counts),
        _packed(found.edges.value[order], counts),
    ]
    return pa.record_batch(columns, schema=tables.neighbours(k))


def _packed(values: Ints | Floats, counts: Ids) -> pa.Array:
    """The first `counts[0]` of `values` as one binary cell, the next `counts[1]` as another, …"""
    offsets = (4 * np.concatenate(([0], np.cumsum(counts)))).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(), len(counts), buffers)


def _unpacked(column: pa.Array, dtype: Any) -> tuple[Any, Ids]:
    """All values of the cells in a row, and how many each cell holds."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    values = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]].view(dtype)
    return values, np.diff(bounds) // 4
