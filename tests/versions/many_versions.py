"""Small histories: a dataset of many versions in a store, made in this process without torch."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from sqlmodel import select

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.jobs.compact import compact
from influence_store.jobs.delete import delete, undo
from influence_store.jobs.embed import embed
from influence_store.jobs.forget import forget
from influence_store.jobs.ingest import ingest
from influence_store.jobs.tag import tag
from influence_store.query.views import views
from influence_store.schema import tables
from influence_store.schema.catalog import Forgotten, Tag
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample, Turn
from influence_store.store.store import Store
from influence_store.version import __version__

DIM = 16


def record(k: int) -> dict[str, str]:
    """Sample `k`, whose words no other sample has."""
    return {
        "instruction": f"Explain the word quux{k:05d}x to a child.",
        "output": " ".join(f"answer{k:05d}x{part}" for part in range(3 + k % 5)),
        "source": ("web", "books", "code")[k % 3],
    }


@dataclass
class History:
    """A store and the folder of its input files."""

    store: object
    folder: object

    def add(self, rows, dataset="demo", *, embedded=True, removed=()):
        """Ingest the samples `rows` as the next version, and embed it."""
        path = self._file(rows, "rows")
        gone = str(self._file(removed, "removed")) if removed else None
        report = ingest(self.store, [str(path)], dataset, removed=gone)
        if embedded:
            version = self.store.version(f"{dataset}@{report.version}")
            embed(self.store, version, HashingEmbedder(DIM), f"hashing:{DIM}")
        return report

    def _file(self, rows, name):
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps(record(k)) + "\n" for k in rows))
        return path

    def sample_ids(self, *numbers):
        """The hex ids of samples by their number."""
        samples = [record(k) for k in numbers]
        turns = [
            (Turn("user", one["instruction"]), Turn("assistant", one["output"])) for one in samples
        ]
        return [sample_id(Sample(one)).hex() for one in turns]

    def digests(self):
        """A digest per view of everything that a query can see, whatever the order of rows."""
        left_out = ("runs",)  # grows with every run
        found = {}
        for name, view in views(self.store).items():
            if name in left_out:
                continue
            columns = [*view.columns, *view.on_request]
            table = view.build(columns, None).select(columns)
            rows = sorted(repr(row) for row in table.to_pylist())
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return found


def state(store):
    """Every row that a reader can see, by kind of block, and what each version holds."""
    seen = {"versions": {str(one): list(one.bits) for one in store.versions()}}
    for kind in ("samples", "rows", "embedding"):
        columns = [name for name in COLUMNS[kind] if name != "sid"]
        batches = store.scan(store.blocks(kind), ["sid", *columns])
        rows = (row for batch in batches for row in batch.to_pylist())
        seen[kind] = sorted((row["sid"], repr(row)) for row in rows)
    with store.database.read() as session:
        tags = session.exec(select(Tag.name, Tag.number)).all()
        forgotten = session.exec(select(Forgotten.sample_id)).all()
    return {**seen, "tags": sorted(tags), "forgotten": sorted(forgotten)}


COLUMNS = {
    "samples": tables.SAMPLES.names,
    "rows": tables.ROWS.names,
    "embedding": tables.embedding(DIM).names,
}


def do(uri, verb, *arguments):
    """One of the verbs of versions, as a job; also what a killed child runs."""
    store = Store.open(uri, __version__)
    try:
        VERBS[verb](store, *arguments)
    finally:
        store.database.close()


def die_at(step, uri, verb, *arguments):
    """In a child: the same, until `step`."""
    os.environ["INFLUENCE_STORE_KILL_AT"] = step
    do(uri, verb, *arguments)


VERBS = {
    "compact": compact,
    "forget": lambda store, *samples: forget(store, samples, "why"),
    "delete": lambda store, name, force=False: delete(store, name, force=force),
    "undo": undo,
    "tag": lambda store, ref, name: tag(store, store.version(ref), name, move=True),
}
