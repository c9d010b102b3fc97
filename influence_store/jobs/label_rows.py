"""`label` for pointwise and bilinear methods: one number, or one vector, for each sample.

rows in a seeded order → measured chunk by chunk → every chunk published as it is done, so that a
killed run loses one chunk and pays for nothing twice. What is known already is never asked again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.influence.response_pass import ResponseMethod, score_together
from influence_store.jobs.cells import content_ids
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.protocols import PointValues, PointVectors
from influence_store.schema import tables
from influence_store.schema.catalog import Producer
from influence_store.schema.identity import content_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from influence_store.protocols import (
        BilinearInfluence,
        Ids,
        InfluenceSpec,
        Ledger,
        PointwiseInfluence,
        Side,
    )
    from influence_store.schema.sample import Sample
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

    Measured = PointValues | PointVectors
    Measure = Callable[[Sequence[Sample]], Measured]

POINTS, VECTORS = "points", "vectors"
#: A chunk grows and shrinks to take about this long: what a kill can cost.
CHUNK_SECONDS = 15.0
_FIRST_CHUNK, _LARGEST_CHUNK = 16, 4096


@dataclass
class Column:
    """One producer's cells, how to measure them, and what became of them in this run."""

    spec: InfluenceSpec
    producer: Producer
    measure: Measure
    ledger: Ledger
    #: The method where several can be read off one pass of the LLM, else None.
    shared: ResponseMethod | None = None
    scored: int = 0
    reused: int = 0
    truncated: int = 0
    empty: int = 0
    undefined: int = 0

    def count(self, measured: Measured) -> None:
        """Every null has one counted reason."""
        null = _null(measured)
        nothing = measured.n_tokens == 0
        self.scored += len(null)
        self.truncated += int((null & measured.truncated).sum())
        self.empty += int((null & ~measured.truncated & nothing).sum())
        self.undefined += int((null & ~measured.truncated & ~nothing).sum())

    @property
    def name(self) -> str:
        """For people: the method, and for whom where it has two sides."""
        side = self.producer.facts.get("side")
        return f"{self.spec.name} of targets" if side == "target" else self.spec.name

    def facts(self) -> dict[str, Any]:
        """As told by a report."""
        counts = ("scored", "reused", "truncated", "empty", "undefined")
        return {
            "name": self.name,
            "kind": self.producer.kind,
            "outputs": list(self.spec.outputs),
            "fingerprint": self.producer.fingerprint,
            **{name: getattr(self, name) for name in counts},
        }


@dataclass(frozen=True)
class Columns:
    """What some methods have to fill: values, and vectors of the sources and of the targets."""

    points: tuple[Column, ...]
    sources: tuple[Column, ...]
    targets: tuple[Column, ...]


def columns_of(store: Store, methods: Sequence[Any], *, register: bool = True) -> Columns:
    """The columns of pointwise and bilinear methods; their producers are looked up, or registered.

    Without `register` an unknown producer stays outside the store and has no cell.
    """
    bilinear = [method for method in methods if method.spec.kind == "bilinear"]
    return Columns(
        tuple(_points(store, m, register) for m in methods if m.spec.kind == "pointwise"),
        tuple(_vectors(store, method, "source", register) for method in bilinear),
        tuple(_vectors(store, method, "target", register) for method in bilinear),
    )


def _points(store: Store, method: PointwiseInfluence, register: bool) -> Column:
    spec = method.spec
    facts = {**method.facts, "outputs": list(spec.outputs)}
    shared = method if isinstance(method, ResponseMethod) else None
    producer = _producer(store, POINTS, spec, facts, 0, register)
    return Column(spec, producer, method.score, method.ledger, shared)


def _vectors(store: Store, method: BilinearInfluence, side: Side, register: bool) -> Column:
    facts = {**method.facts, "side": "both" if method.symmetric else side}
    producer = _producer(store, VECTORS, method.spec, facts, method.dim, register)
    return Column(
        method.spec, producer, lambda samples: method.vectors(samples, side), method.ledger
    )


def _producer(
    store: Store, kind: str, spec: InfluenceSpec, facts: dict[str, Any], dim: int, register: bool
) -> Producer:
    if register:
        return store.producer(kind, spec.name, facts, dim=dim, higher_means=spec.higher_means)
    unknown = Producer(
        fingerprint="", kind=kind, name=spec.name, dim=dim, facts=facts, created_at=0.0
    )
    return store.find_producer(kind, spec.name, facts) or unknown


def row_order(store: Store, version: Version, seed: int) -> Ids:
    """The sids of a version in a seeded order that depends on contents only.

    A bigger budget continues a smaller one, a later version an earlier one, and any start of it
    is a random sample.
    """
    contents = content_ids(store, version.sids)
    return version.sids[content_order(contents, seed, "rows")]


@dataclass
class Spent:
    """Seconds at work on how many rows and characters: what an extrapolation starts from."""

    seconds: float = 0.0
    rows: int = 0
    chars: int = 0


@dataclass
class RowsAtWork:
    """Measures columns over rows within one run; `spent` says what it has taken so far."""

    store: Store
    run: ActiveRun
    ledger: Callable[[], dict[str, int]]
    spent: Spent = field(default_factory=Spent)

    def fill(self, columns: Sequence[Column], sids: Ids, deadline: float | None = None) -> None:
        """Measure the cells of `columns` that `sids` lack, in that order, until `deadline`.

        Columns that can be read off one pass of the LLM are measured together.
        """
        for group in groups(columns):
            known = [known_cells(self.store, column) for column in group]
            for column, cells in zip(group, known, strict=True):
                column.reused += sum(sid in cells for sid in sids.tolist())
            todo = [sid for sid in sids.tolist() if any(sid not in cells for cells in known)]
            label = " + ".join(column.name for column in group)
            with progress(label, len(todo), "rows") as advance:
                for chunk in self._chunks(todo, deadline):
                    self._measure(group, known, chunk)
                    advance(len(chunk))

    def _chunks(self, todo: list[int], deadline: float | None) -> Iterator[list[int]]:
        start, size = 0, _FIRST_CHUNK
        while start < len(todo) and (deadline is None or time.monotonic() < deadline):
            began = time.monotonic()
            chunk = todo[start : start + size]
            yield chunk
            took = max(time.monotonic() - began, 1e-3)
            start += len(chunk)
            # At most doubled at once: the first chunk also pays for what is loaded lazily.
            size = int(np.clip(len(chunk) * CHUNK_SECONDS / took, 1, min(2 * size, _LARGEST_CHUNK)))

    def _measure(self, group: Sequence[Column], known: Sequence[BitMap], chunk: list[int]) -> None:
        began = time.monotonic()
        staged = []
        for columns, part in _by_missing(group, known, chunk):
            sids, samples = read_samples(self.store, BitMap(part))
            for column, measured in zip(columns, measure_together(columns, samples), strict=True):
                column.count(measured)
                batch = _batch(column, sids, measured)
                staged.append(
                    self.run.stage(
                        column.producer.kind,
                        [batch],
                        batch.schema,
                        BitMap(part),
                        producer_id=column.producer.id,
                    )
                )
            self.spent.chars += sum(len(one.prompt) + len(one.response) for one in samples)
        self.run.publish(staged, spent=self.ledger())
        self.spent.rows += len(chunk)
        self.spent.seconds += time.monotonic() - began


def known_cells(store: Store, column: Column) -> BitMap:
    """The sids that have a cell in this column already."""
    producer_id = column.producer.id
    return BitMap() if producer_id is None else store.covered(producer_id)


def groups(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns to be measured together; those that share nothing stand alone."""
    together = [column for column in columns if column.shared is not None]
    return [*([together] if together else []), *[[c] for c in columns if c.shared is None]]


def _by_missing(
    group: Sequence[Column], known: Sequence[BitMap], chunk: Sequence[int]
) -> Iterator[tuple[list[Column], list[int]]]:
    """Split a chunk by which columns its rows still lack."""
    parts: dict[tuple[bool, ...], list[int]] = {}
    for sid in chunk:
        parts.setdefault(tuple(sid not in cells for cells in known), []).append(sid)
    for lacking, sids in parts.items():
        yield [column for column, lacks in zip(group, lacking, strict=True) if lacks], sids


def measure_together(columns: Sequence[Column], samples: Sequence[Sample]) -> Sequence[Measured]:
    """One result per column of a group, from one pass where they share it."""
    shared = [column.shared for column in columns if column.shared is not None]
    if shared:
        return score_together(shared, samples)
    return [column.measure(samples) for column in columns]


def _batch(column: Column, sids: Ids, measured: Measured) -> pa.RecordBatch:
    how = [pa.array(measured.n_tokens), pa.array(measured.truncated)]
    if isinstance(measured, PointValues):
        outputs = column.spec.outputs
        values = [
            pa.array(measured.values[name], pa.float64(), from_pandas=True) for name in outputs
        ]
        return pa.record_batch([pa.array(sids), *values, *how], schema=tables.points(outputs))
    dim = measured.vectors.shape[1]
    flat = pa.array(np.nan_to_num(measured.vectors).astype(np.float32).ravel())
    vectors = pa.FixedSizeListArray.from_arrays(flat, dim)
    arrays = [pa.array(sids), vectors, pa.array(~_null(measured)), *how]
    return pa.record_batch(arrays, schema=tables.vectors(dim))


def _null(measured: Measured) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n,): the first output, or the vector, could not be measured."""
    if isinstance(measured, PointValues):
        return np.isnan(next(iter(measured.values.values())))
    return np.asarray(np.isnan(measured.vectors).any(axis=1))
