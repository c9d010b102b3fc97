"""`import`: values that somebody computed elsewhere become facts, if they say what they are.

read with identity → rows matched by content against the store → published as one fact each
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import InputError, ReadError
from influence_store.influence.imports import read_scores
from influence_store.influence.imports.scores import Pairs, Points
from influence_store.ingest import read
from influence_store.schema import tables
from influence_store.schema.identity import sample_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from influence_store.influence.imports.scores import Imported, Vectors
    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

UNKNOWN = "sample not in the store"


@dataclass(frozen=True)
class ImportReport:
    """`added` values are new facts, `known` were facts already; `dropped` counts by reason."""

    method: str
    kind: str
    outputs: tuple[str, ...]
    fingerprint: str
    added: int
    known: int
    dropped: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {**vars(self), "outputs": list(self.outputs), "dropped": dict(self.dropped)}

    def lines(self) -> list[str]:
        """For people."""
        what = {"pointwise": "rows", "pairwise": "pairs", "bilinear": "vectors"}[self.kind]
        told = [f"{self.method} ({self.kind}): {self.added:,} {what} added, {self.known:,} known"]
        return [*told, *(f"  dropped {count:,}: {why}" for why, count in self.dropped.items())]


def import_scores(
    store: Store, path: Path, form: str, identity: Path | None = None
) -> ImportReport:
    """Read scores in the format `form` and keep those of samples that the store holds.

    `identity` names the manifest when it does not lie beside the scores. InputError if no row is
    known here; the errors of `read_scores` otherwise.
    """
    scores = read_scores(path, form, identity, rows_of=_rows_of)
    known = store.sids_of([one for ids in scores.table.axes for one in ids])
    sid_of = dict(zip(known["sample_id"].to_list(), known["sid"].to_list(), strict=True))
    if not sid_of:
        raise InputError(
            f"none of the samples of {path} is in the store",
            hint="ingest the data they were computed on first: influence-store ingest FILE …",
        )
    dropped = dict(scores.dropped)
    with store.claim("import", f"import:{path.resolve()}", {"paths": [str(path)]}) as run:
        if isinstance(scores.table, Points):
            counts = _points(store, run, scores, scores.table, sid_of, dropped)
        elif isinstance(scores.table, Pairs):
            counts = _pairs(store, run, scores, scores.table, sid_of, dropped)
        else:
            counts = _vectors(store, run, scores, scores.table, sid_of, dropped)
        producer, added, before = counts
        report = ImportReport(
            method=scores.spec.name,
            kind=scores.spec.kind,
            outputs=scores.spec.outputs,
            fingerprint=producer.fingerprint,
            added=added,
            known=before,
            dropped=dropped,
        )
        run.report(report.facts(), {})
    return report


_Counts = tuple["Producer", int, int]


def _points(
    store: Store,
    run: ActiveRun,
    scores: Imported,
    table: Points,
    sid_of: Mapping[bytes, int],
    dropped: dict[str, int],
) -> _Counts:
    facts = {**scores.facts, "outputs": list(table.values)}
    producer = _producer(store, "points", scores, facts)
    sids, places, before = _new(store, producer, table.ids, sid_of, dropped)
    arrays = [
        pa.array(column[places], pa.float64(), from_pandas=True) for column in table.values.values()
    ]
    schema = tables.points(tuple(table.values))
    batch = pa.record_batch([pa.array(sids), *arrays, *_unknown_how(len(sids))], schema=schema)
    _publish(run, [_staged(run, producer, batch, sids)])
    return producer, len(sids), before


def _vectors(
    store: Store,
    run: ActiveRun,
    scores: Imported,
    table: Vectors,
    sid_of: Mapping[bytes, int],
    dropped: dict[str, int],
) -> _Counts:
    sides: list[tuple[str, Sequence[bytes], Floats]] = [
        ("both" if table.symmetric else "source", table.source_ids, table.source_vectors)
    ]
    if not table.symmetric:
        sides.append(("target", table.target_ids, table.target_vectors))
    staged, added, before = [], 0, 0
    for side, ids, vectors in reversed(sides):
        dim = vectors.shape[1]
        producer = _producer(store, "vectors", scores, {**scores.facts, "side": side}, dim)
        sids, places, known = _new(store, producer, ids, sid_of, dropped)
        rows = vectors[places]
        measured = ~np.isnan(rows).any(axis=1)
        flat = pa.array(np.nan_to_num(rows).ravel().astype(np.float32))
        columns = [
            pa.array(sids),
            pa.FixedSizeListArray.from_arrays(flat, dim),
            pa.array(measured),
            *_unknown_how(len(sids)),
        ]
        batch = pa.record_batch(columns, schema=tables.vectors(dim))
        staged.append(_staged(run, producer, batch, sids))
        added, before = added + len(sids), before + known
    _publish(run, staged)
    return producer, added, before


def _pairs(
    store: Store,
    run: ActiveRun,
    scores: Imported,
    table: Pairs,
    sid_of: Mapping[bytes, int],
    dropped: dict[str, int],
) -> _Counts:
    producer = _producer(store, "pairs", scores, dict(scores.facts))
    sources = np.repeat(_sids(table.source_ids, sid_of), np.diff(table.starts))
    targets = _sids(table.target_ids, sid_of)[table.targets]
    ours = (sources >= 0) & (targets >= 0)
    own = ours & (sources == targets)
    _count(dropped, "pair with a " + UNKNOWN, int((~ours).sum()))
    _count(dropped, "sample paired with itself", int(own.sum()))
    stored = set(store.pairs(producer).select("source", "target").iter_rows())
    fresh = [pair not in stored for pair in zip(sources.tolist(), targets.tolist(), strict=True)]
    new = ours & ~own & np.array(fresh, np.bool_)
    values = [pa.array(v[new], pa.float32(), from_pandas=True) for v in table.values.values()]
    columns = [pa.array(sources[new]), pa.array(targets[new]), *values]
    batch = pa.record_batch(columns, schema=tables.pairs(tuple(table.values)))
    _publish(run, [_staged(run, producer, batch, sources[new])])
    return producer, int(new.sum()), int((ours & ~own).sum() - new.sum())


def _new(
    store: Store,
    producer: Producer,
    ids: Sequence[bytes],
    sid_of: Mapping[bytes, int],
    dropped: dict[str, int],
) -> tuple[Ids, Ids, int]:
    """Ascending sids that lack a cell, their places in `ids`, and how many have one."""
    assert producer.id is not None
    covered = store.covered(producer.id)
    sids = _sids(ids, sid_of)
    _count(dropped, UNKNOWN, int((sids < 0).sum()))
    places = [k for k, sid in enumerate(sids.tolist()) if sid >= 0 and sid not in covered]
    ordered = np.array(sorted(places, key=sids.__getitem__), np.int64)
    return sids[ordered], ordered, int((sids >= 0).sum()) - len(ordered)


def _sids(ids: Sequence[bytes], sid_of: Mapping[bytes, int]) -> Ids:
    return np.array([sid_of.get(one, -1) for one in ids], np.int64)


def _count(dropped: dict[str, int], reason: str, n: int) -> None:
    if n:
        dropped[reason] = dropped.get(reason, 0) + n


def _unknown_how(n: int) -> list[pa.Array]:
    """A file of scores does not say how many tokens were read."""
    return [pa.array(np.zeros(n, np.int64)), pa.array(np.zeros(n, np.bool_))]


def _producer(
    store: Store, kind: str, scores: Imported, facts: Mapping[str, Any], dim: int = 0
) -> Producer:
    spec = scores.spec
    return store.producer(kind, spec.name, facts, dim=dim, higher_means=spec.higher_means)


def _staged(
    run: ActiveRun, producer: Producer, batch: pa.RecordBatch, sids: Ids
) -> StagedBlock | None:
    if not len(sids):
        return None
    bits = BitMap(sids.astype(np.uint32))
    return run.stage(producer.kind, [batch], batch.schema, bits, producer_id=producer.id)


def _publish(run: ActiveRun, staged: Sequence[StagedBlock | None]) -> None:
    if blocks := [block for block in staged if block is not None]:
        run.publish(blocks)


def _rows_of(path: Path) -> list[bytes]:
    """Sample ids of the rows of a data file; one unreadable row would shift all that follow."""
    ids = []
    for record in read([str(path)], allow_empty=True):
        if isinstance(record, ReadError):
            raise record
        ids.append(sample_id(record.sample))
    return ids
