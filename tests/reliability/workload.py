"""What writers bring and what readers see: overlapping contents, whole reads, an audit."""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from history import Journal, content_of, text_of
from sqlmodel import select

from influence_store.embedding import embedding_text
from influence_store.embedding.hashing import HashingEmbedder
from influence_store.jobs import embed as embed_job
from influence_store.jobs import ingest as ingest_job
from influence_store.schema.catalog import Artifact
from influence_store.schema.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from influence_store.protocols import Embedder, Floats
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

DATASET = "demo"
EMBEDDER = "hashing:16"
#: Contents that all writers bring again and again.
COMMON = range(60)


@dataclass(frozen=True)
class Operation:
    """One ingest: rows to bring and rows to take out; `stamp` is brought by no other operation."""

    id: str
    dataset: str
    adds: tuple[int, ...]
    drops: tuple[int, ...]
    stamp: int


def operation(writer: int, number: int, seed: int, dataset: str = DATASET) -> Operation:
    """The `number`-th ingest of a writer: its stamp, three rows of its own, six common ones.

    From the third on it drops a row that the same writer brought two operations before.
    """
    rng = random.Random(f"{seed}/{writer}/{number}")
    stamp = (writer + 1) * 1_000_000 + number * 10
    own = (stamp, stamp + 1, stamp + 2, stamp + 3)
    drops = (stamp - 20 + 1,) if number >= 2 else ()
    adds = (*own, *rng.sample(COMMON, 6))
    return Operation(f"w{writer}-{number}", dataset, adds, drops, stamp)


def write_records(path: Path, contents: Iterable[int]) -> str:
    """A file of these contents, as `ingest` reads it."""
    with path.open("w") as stream:
        for content in contents:
            prompt, response = text_of(content)
            stream.write(json.dumps({"instruction": prompt, "output": response}) + "\n")
    return str(path)


def ingest(store: Store, work: Operation, inputs: Path, journal: Journal) -> int:
    """Carry out one operation between its begin and its ack; the version it ended with."""
    added = write_records(inputs / f"{work.id}.jsonl", work.adds)
    removed = write_records(inputs / f"{work.id}-removed.jsonl", work.drops)
    journal.begin(work.id, work.dataset, work.adds, work.drops, stamp=work.stamp)
    report = ingest_job.ingest(
        store, [added], work.dataset, removed=removed if work.drops else None
    )
    journal.ack(work.id, report.version, changed=report.changed)
    return report.version


def embed(store: Store, dataset: str, journal: Journal) -> None:
    """Complete the embeddings of the head; acknowledged with its version."""
    version = store.version(dataset)
    journal.write("embedding", dataset=dataset, version=version.number)
    report = embed_job.embed(store, version, embedder(), EMBEDDER)
    journal.write("embedded", dataset=dataset, version=version.number, computed=report.computed)


def keep(store: Store, journal: Journal, number: int) -> None:
    """Put an artifact beside the blocks, as `train` does with an estimator."""
    content = artifact(number)
    with store.claim("train", f"train:{number}", {}) as run:
        run.publish([], artifacts=[store.put_artifact(content, "test")])
    journal.write("kept", sha256=hashlib.sha256(content).hexdigest())


def artifact(number: int) -> bytes:
    """The bytes of an artifact: large enough for several sectors."""
    return hashlib.sha256(str(number).encode()).digest() * 100


def embedder() -> Embedder:
    """The embedder of all writers."""
    return HashingEmbedder(16)


def look(store: Store, ref: str, journal: Journal) -> None:
    """Read one version whole and write down what was seen."""
    began = time.monotonic()
    version = store.version(ref)
    journal.read(version.dataset, version.number, _contents(store, version), began)


def audit(store: Store, journal: Journal) -> None:
    """Write down everything that the store holds, for the checker."""
    samples = _audit_samples(store, journal)
    vectors = _audit_embeddings(store, journal, samples)
    for version in store.versions():
        journal.write(
            "version",
            dataset=version.dataset,
            version=version.number,
            contents=_contents(store, version),
            vectors=len(vectors & set(version.bits)),
        )
    with store.database.read() as session:
        hashes = session.exec(select(Artifact.sha256)).all()
    for sha256 in hashes:
        content = store.get_artifact(sha256)
        journal.write("artifact", sha256=sha256, found=hashlib.sha256(content).hexdigest())
    journal.write("audited")


def _contents(store: Store, version: Version) -> list[int]:
    columns = ["sid", "prompt", "response"]
    seen = [
        content_of(prompt, response)
        for batch in store.scan(store.blocks("samples"), columns, version.bits)
        for prompt, response in zip(
            batch["prompt"].to_pylist(), batch["response"].to_pylist(), strict=True
        )
    ]
    # A sid without a row is a torn version, not a shorter one.
    return seen + [-1] * (len(version.bits) - len(seen))


def _audit_samples(store: Store, journal: Journal) -> dict[int, int]:
    """Content by sid; each content may have one."""
    samples: dict[int, int] = {}
    found = 0
    for batch in store.scan(store.blocks("samples"), ["sid", "prompt", "response"]):
        found += batch.num_rows
        for row in batch.to_pylist():
            samples[row["sid"]] = content_of(row["prompt"], row["response"])
    distinct = set(samples.values())
    _write_cells(journal, "samples", found, len(distinct), wrong=int(-1 in distinct))
    return samples


def _audit_embeddings(store: Store, journal: Journal, samples: dict[int, int]) -> set[int]:
    """The sids that have a vector; each may have one, which must be its text's."""
    made = embedder()
    producer = store.find_producer("embedding", made.name, made.facts)
    if producer is None:
        return set()
    sids: list[int] = []
    wrong = 0
    for batch in store.scan(store.blocks("embedding", producer_id=producer.id), ["sid", "vector"]):
        own = batch["sid"].to_pylist()
        found = batch["vector"].flatten().to_numpy().reshape(-1, made.dim)
        wrong += int((found != _vectors(made, own, samples)).any(axis=1).sum())
        sids += own
    _write_cells(journal, "embedding", len(sids), len(set(sids)), wrong)
    return set(sids)


def _vectors(made: Embedder, sids: list[int], samples: dict[int, int]) -> Floats:
    """What the embedder says of the texts behind `sids`."""
    texts = []
    for sid in sids:
        sample = Sample.of(*text_of(samples.get(sid, -1)))
        texts.append(embedding_text(sample, made.facts["template"]))
    return made.encode(texts).vectors


def _write_cells(journal: Journal, of: str, found: int, distinct: int, wrong: int) -> None:
    journal.write("cells", of=of, found=found, distinct=distinct, wrong=wrong)
