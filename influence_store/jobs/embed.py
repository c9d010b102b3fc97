"""`embed`: one vector per distinct content and embedder, computed once for all datasets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from influence_store.embedding import embedding_text
from influence_store.embedding.vectors import UnusableVector
from influence_store.errors import Incompatible, InputError
from influence_store.jobs.samples import chunks, read_samples
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.schema.identity import fingerprint, sample_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Embedder, Encoded
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

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

    Publishes every few thousand rows, so a killed run goes on where it was. InputError names the
    sample whose vector is not usable, Incompatible says that the embedder does not do what it
    promises; the rows before it are kept.
    """
    scope = f"embed:{fingerprint(embedder.facts)}:{version.dataset}"
    with store.claim("embed", scope, {"dataset": str(version), "embedder": source}) as run:
        known = store.find_producer("embedding", embedder.name, embedder.facts)
        missing = store.missing(version, known) if known else version.bits
        truncated = done = 0
        with progress(f"embedding {version}", len(missing)) as advance:
            for part in chunks(missing, CHUNK_ROWS):
                sids, samples = read_samples(store, part)
                encoded = encode(embedder, samples)
                truncated += int(encoded.truncated.sum())
                # An embedder that never gave a vector leaves no trace in the catalog.
                producer = embedder_producer(store, embedder)
                batch = _batch(sids, encoded.vectors, encoded.truncated)
                block = run.stage("embedding", [batch], batch.schema, part, producer_id=producer.id)
                done += len(sids)
                run.publish([block], spent={"embeddings": done})
                advance(len(sids))
        producer = embedder_producer(store, embedder)
        assert producer.id is not None
        store.activate(version.dataset_id, producer.id, source)
        report = _report(version, producer, len(missing), truncated)
        run.report(report.facts(), {"embeddings": len(missing)})
    return report


def embedder_producer(store: Store, embedder: Embedder) -> Producer:
    """The producer row of this embedder, by everything that changes a vector."""
    return store.producer("embedding", embedder.name, embedder.facts, dim=embedder.dim)


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
