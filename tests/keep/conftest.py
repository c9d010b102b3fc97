"""A store of two small datasets that was never near an LLM, and ways to harm it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dying
import numpy as np
import pytest
from raw_path import raw_path, sizes
from sqlmodel import select

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.jobs import repair, verify_store
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.publish_selection import new_selection, publish_selection
from influence_store.schema.catalog import Block
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from raw_path import RawPath

DIM = 8


def write_rows(path: Path, numbers) -> Path:
    """Alpaca JSON lines; equal numbers are equal samples."""
    rows = ({"instruction": f"What is {k}?", "output": f"It is {k}, truly."} for k in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass
class Scene:
    """An open store with the folder of its inputs; raw bytes behind the back of the program."""

    store: object
    inputs: Path

    @property
    def root(self) -> RawPath:
        """Where the bytes are."""
        return raw_path(self.store.storage.uri)

    def ingest(self, numbers, dataset="demo"):
        path = write_rows(self.inputs / f"{dataset}-{min(numbers)}-{max(numbers)}.jsonl", numbers)
        return ingest(self.store, [str(path)], dataset)

    def embed(self, dataset="demo"):
        version = self.store.version(dataset)
        return embed(self.store, version, HashingEmbedder(DIM), f"hashing:{DIM}")

    def select(self, identity="5e1ec7", n=5):
        version = self.store.version("demo")
        row = new_selection(identity, version, "facility-location", "cosine", n, {})
        with self.store.claim("select", f"select:{identity}", {}) as run:
            publish_selection(self.store, run, row, version.sids[:n], np.ones(n))

    def artifact(self, content=b"weights"):
        made = self.store.put_artifact(content, "checkpoint")
        with self.store.claim("train", "train", {}) as run:
            run.publish([], artifacts=[made])
        return made.sha256

    def block(self, kind) -> Block:
        """The newest live block of a kind."""
        live = select(Block).where(Block.kind == kind, Block.retired_at.is_(None))
        with self.store.database.read() as session:
            return session.exec(live.order_by(Block.id.desc())).first()

    def data_file(self, kind) -> RawPath:
        """Where the values of that block lie."""
        (path,) = (self.root / self.block(kind).path / "data").iterdir()
        return path

    def retire(self, kind, seconds_ago=0.0):
        """As compact does, a while ago."""
        id_ = self.block(kind).id
        with self.store.claim("compact", "compact", {}) as run:
            run.publish([], retire=[id_])

        def earlier(session):
            session.get_one(Block, id_).retired_at -= seconds_ago

        self.store.database.write(earlier)
        return id_

    def files(self):
        """Paths below the root of all blocks and objects."""
        return {path for path in sizes(self.root) if path.startswith(("blocks/", "objects/"))}

    def files_of(self, kind):
        """Those of the newest live block of a kind; LanceDB writes one fewer into a bucket."""
        return {path for path in self.files() if path.startswith(f"{self.block(kind).path}/")}


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """A child costs a second; who wants the real one says `children`."""
    if "children" in request.fixturenames:
        return

    monkeypatch.setattr(verify_store, "inspect_all", dying.in_this_process)
    monkeypatch.setattr(repair, "inspect_all", dying.in_this_process)


@pytest.fixture
def children():
    """Deep looks are taken by child processes, as they are outside of tests."""


@pytest.fixture(scope="session")
def built(backend, tmp_path_factory):
    """40 samples in demo@1, embedded; a selection of five; an artifact. To be copied."""
    folder = tmp_path_factory.mktemp("keep")
    uri, database = backend.new(folder / "store")
    store, _ = Store.init(uri, __version__, database)
    made = Scene(store, folder)
    made.ingest(range(40))
    made.embed()
    made.select()
    made.artifact()
    store.database.close()
    return uri


@pytest.fixture
def scene(built, backend, tmp_path):
    """A copy of it."""
    uri, database = backend.copy(built, None, tmp_path / "copy")
    store = Store.open(uri, __version__, database)
    (tmp_path / "inputs").mkdir()
    yield Scene(store, tmp_path / "inputs")
    store.database.close()


@pytest.fixture
def elsewhere(backend, tmp_path):
    """URI and database of a place where there is no store yet."""

    def name(word):
        return backend.new(tmp_path / word)

    return name
