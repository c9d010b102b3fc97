"""`embed`: one vector per distinct content and embedder, computed once for all datasets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from influence_store.embedding import embedding_text
from influence_store.jobs.samples import chunks, read_samples
from influence_store.progress import progress
from influence_store.schema import tables

if TYPE_CHECKING:
    from influence_store.protocols import Embedder
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store, Version

#: Rows per published block: what a kill can cost.
CHUNK_ROWS = 4096


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
        cut = f"; {self.truncated:,} texts were longer than it reads" if self.truncated else ""
        return [
            f"{self.dataset}@{self.version}: {self.computed:,} embeddings computed, "
            f"{self.reused:,} reused{cut}",
            f"  {self.embedder}, {self.dim} numbers each, fingerprint {self.fingerprint[:12]}",
        ]


def embed(store: Store, version: Version, embedder: Embedder, source: str) -> EmbedReport:
    """Compute the missing vectors of `version`; `source` is where to load the embedder from.

    Publishes every few thousand rows, so a killed run goes on where it was.
    """
    producer = embedder_producer(store, embedder)
    assert producer.id is not None
    scope = f"embed:{producer.fingerprint}:{version.dataset}"
    with store.claim("embed", scope, {"dataset": str(version), "embedder": source}) as run:
        missing = store.missing(version, producer)
        truncated = done = 0
        with progress(f"embedding {version}", len(missing)) as advance:
            for part in chunks(missing, CHUNK_ROWS):
                sids, samples = read_samples(store, part)
                texts = [embedding_text(one, embedder.facts["template"]) for one in samples]
                encoded = embedder.encode(texts)
                truncated += int(encoded.truncated.sum())
                batch = _batch(sids, encoded.vectors, encoded.truncated)
                block = run.stage("embedding", [batch], batch.schema, part, producer_id=producer.id)
                done += len(sids)
                run.publish([block], spent={"embeddings": done})
                advance(len(sids))
        store.activate(version.dataset_id, producer.id, source)
        report = _report(version, producer, len(missing), truncated)
        run.report(report.facts(), {"embeddings": len(missing)})
    return report


def embedder_producer(store: Store, embedder: Embedder) -> Producer:
    """The producer row of this embedder, by everything that changes a vector."""
    return store.producer("embedding", embedder.name, embedder.facts, dim=embedder.dim)


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
