"""Columns of pointwise and bilinear methods: one number, or one vector, for each sample.

What a column is, which of its cells are known, in which order rows are asked, and how several
columns are read off one pass. `measure_rows.py` fills them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.influence.response_pass import ResponseMethod, score_together
from influence_store.jobs.cells import content_ids
from influence_store.protocols import PointValues, PointVectors
from influence_store.schema import tables
from influence_store.schema.catalog import Producer
from influence_store.schema.identity import content_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.protocols import (
        BilinearInfluence,
        Ids,
        InfluenceSpec,
        Ledger,
        PointwiseInfluence,
        Side,
    )
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

    Measured = PointValues | PointVectors
    Measure = Callable[[Sequence[Sample]], Measured]

POINTS, VECTORS = "points", "vectors"


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

    def count(self, counts: Mapping[str, int]) -> None:
        """Add what `counts_of` found in a shard."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)

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


def known_cells(store: Store, column: Column) -> BitMap:
    """The sids that have a cell in this column already."""
    producer_id = column.producer.id
    return BitMap() if producer_id is None else store.covered(producer_id)


def groups(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns to be measured together; those that share nothing stand alone."""
    together = [column for column in columns if column.shared is not None]
    return [*([together] if together else []), *[[c] for c in columns if c.shared is None]]


def measure_together(columns: Sequence[Column], samples: Sequence[Sample]) -> Sequence[Measured]:
    """One result per column of a group, from one pass where they share it."""
    shared = [column.shared for column in columns if column.shared is not None]
    if shared:
        return score_together(shared, samples)
    return [column.measure(samples) for column in columns]


def counts_of(measured: Measured) -> dict[str, int]:
    """Cells scored, and nulls by their one reason."""
    null, nothing = _null(measured), measured.n_tokens == 0
    return {
        "scored": len(null),
        "truncated": int((null & measured.truncated).sum()),
        "empty": int((null & ~measured.truncated & nothing).sum()),
        "undefined": int((null & ~measured.truncated & ~nothing).sum()),
    }


def batch_of(column: Column, sids: Ids, measured: Measured) -> pa.RecordBatch:
    """Measured cells as they are stored, one row per sid."""
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
