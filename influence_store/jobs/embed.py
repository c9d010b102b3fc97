"""`embed`: one vector per distinct content and embedder, computed once for all datasets."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from influence_store.counted import counted
from influence_store.embedding import embedding_text, open_embedder
from influence_store.embedding.vectors import UnusableVector
from influence_store.errors import Incompatible, InputError
from influence_store.execution import LOCAL, StoreAt, spread
from influence_store.jobs.samples import growing_chunks, read_samples
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.schema.identity import fingerprint, sample_id
from influence_store.settings import cache_dir
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyroaring import BitMap

    from influence_store.execution import Executor
    from influence_store.protocols import Embedder, Encoded
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import Slot
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Rows of the first published block and of the largest: what a kill can cost, a quarter of the rows
#: before at most, and what a worker is given at a time.
LEAST_ROWS, CHUNK_ROWS = 512, 4096


@dataclass(frozen=True)
class EmbedReport:
    """`computed` vectors are new; `reused` were in the store, from whichever dataset."""

    dataset: str
    version: int
    embedder: str
    fingerprint: str
    dim: int
    computed: int
    reused: int
    truncated: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        longer = counted(self.truncated, "text was", "texts were")
        cut = f"; {longer} longer than it reads" if self.truncated else ""
        return [
            f"{self.dataset}@{self.version}: {counted(self.computed, 'embedding')} computed, "
            f"{self.reused:,} reused{cut}",
            f"  {self.embedder}, {self.dim} numbers each, fingerprint {self.fingerprint[:12]}",
        ]


@dataclass(frozen=True)
class Embedding:
    """The vectors of a shard of sids, written as one block; each worker opens `source` itself."""

    store: StoreAt
    source: str
    fingerprint: str
    device: str = "cpu"

    def open(self) -> tuple[Store, Embedder]:
        """Incompatible if the model at `source` is another one on this machine."""
        # A worker is one of several on its machine: one core each.
        embedder = open_embedder(self.source, cache=cache_dir(), threads=1)
        if (found := fingerprint(embedder.facts)) != self.fingerprint:
            raise Incompatible(
                f"a worker opens {self.source} as another embedder ({found[:12]}) than the driver "
                f"({self.fingerprint[:12]})",
                hint="put the same model at the same place on every machine",
            )
        return self.store.open(), embedder

    def do(
        self, hands: tuple[Store, Embedder], shard: BitMap, slot: Slot
    ) -> tuple[StagedBlock, int]:
        """The block, which has no producer yet, and how many texts were cut."""
        store, embedder = hands
        sids, samples = read_samples(store, shard)
        encoded = encode(embedder, samples)
        batch = _batch(sids, encoded.vectors, encoded.truncated)
        path = slot.path("embedding")
        block = stage(store.storage, path, [batch], batch.schema, kind="embedding", bits=shard)
        return block, int(encoded.truncated.sum())


def embed(
    store: Store, version: Version, embedder: Embedder, source: str, executor: Executor = LOCAL
) -> EmbedReport:
    """Compute the missing vectors of `version`; `source` is where to load the embedder from.

    Publishes every few thousand rows, so a killed run goes on where it was. InputError names the
    sample whose vector is not usable, Incompatible says that the embedder does not do what it
    promises; the rows before it are kept.
    """
    scope = f"embed:{fingerprint(embedder.facts)}:{version.dataset}"
    with store.claim("embed", scope, {"dataset": str(version), "embedder": source}) as run:
        known = store.find_producer("embedding", embedder.name, embedder.facts)
        missing = store.missing(version, known) if known else version.bits
        work = Embedding(StoreAt.of(store), source, fingerprint(embedder.facts), _device(embedder))
        shards = growing_chunks(missing, LEAST_ROWS, CHUNK_ROWS)
        truncated = done = 0
        with progress(f"embedding {version}", len(missing)) as advance:
            for block, cut in spread(executor, run, work, shards, (store, embedder)):
                truncated += cut
                # An embedder that never gave a vector leaves no trace in the catalog.
                producer = embedder_producer(store, embedder)
                done += block.n_rows
                run.publish([replace(block, producer_id=producer.id)], spent={"embeddings": done})
                advance(block.n_rows)
        producer = embedder_producer(store, embedder)
        assert producer.id is not None
        store.activate(version.dataset_id, producer.id, source)
        report = _report(version, producer, len(missing), truncated)
        run.report(report.facts(), {"embeddings": len(missing)})
    return report


def _device(embedder: Embedder) -> str:
    """Where it runs, by what it says of itself."""
    return str(getattr(embedder, "device", "cpu"))


def embedder_producer(store: Store, embedder: Embedder) -> Producer:
    """The producer row of this embedder, by everything that changes a vector."""
    return store.producer("embedding", embedder.name, embedder.facts, dim=embedder.dim)


def source_of(store: Store, spec: str) -> str:
    """Where the embedder stored under the name `spec` was last loaded from; else `spec` itself."""
    used = [store.active(dataset_id) for dataset_id in {one.dataset_id for one in store.versions()}]
    newest = sorted((one for ones in used for one in ones), key=lambda one: one[0].id or 0)
    named = {made.name: source for made, source in newest if made.kind == "embedding"}
    return spec if os.path.exists(spec) else named.get(spec, spec)


def embedder_of(store: Store, version: Version) -> Producer | None:
    """The newest embedder that has a vector for every row of `version`."""
    complete = [one for one in store.producers("embedding") if not store.missing(version, one)]
    return complete[-1] if complete else None


def encode(embedder: Embedder, samples: Sequence[Sample]) -> Encoded:
    """The vectors of `samples`, (n, dim), checked: an embedder may come from anywhere."""
    texts = [embedding_text(one, embedder.facts["template"]) for one in samples]
    try:
        encoded = embedder.encode(texts)
    except UnusableVector as error:
        raise InputError(f"sample {sample_id(samples[error.text]).hex()}: {error}") from error
    found, expected = encoded.vectors.shape, (len(texts), embedder.dim)
    if found != expected:
        raise Incompatible(
            f"{embedder.name} gives vectors of shape {found}, it promised {expected}",
            hint="embed with another --embedder",
        )
    unusable = ~np.isfinite(encoded.vectors).all(axis=1) | ~encoded.vectors.any(axis=1)
    if unusable.any():
        first = samples[int(np.argmax(unusable))]
        raise InputError(
            f"sample {sample_id(first).hex()}: {embedder.name} gives a vector of NaN, infinity or "
            "only zeros",
            hint="look at that sample's text, or embed with another --embedder",
        )
    return encoded


def _report(version: Version, producer: Producer, computed: int, truncated: int) -> EmbedReport:
    return EmbedReport(
        dataset=version.dataset,
        version=version.number,
        embedder=producer.name,
        fingerprint=producer.fingerprint,
        dim=producer.dim,
        computed=computed,
        reused=len(version.bits) - computed,
        truncated=truncated,
    )


def _batch(sids: Any, vectors: Any, truncated: Any) -> pa.RecordBatch:
    dim = vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    arrays = [
        pa.array(sids),
        pa.FixedSizeListArray.from_arrays(flat, dim),
        pa.array(truncated),
    ]
    return pa.record_batch(arrays, schema=tables.embedding(dim))
