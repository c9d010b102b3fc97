"""The SQL side, the only authority: datasets, versions, blocks, producers, runs, selections.

LanceDB holds bytes that these rows vouch for. Bitmaps are serialised Roaring bitmaps over `sid`.
Times are seconds since 1970 by the database's clock and never order versions.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

#: Migrations bring a database to this revision; a newer one is refused.
REVISION = "0003"


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


def _bits() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=False))


class StoreRow(SQLModel, table=True):
    """The store's own name, for good: what ties the catalog to the place of its bytes."""

    __tablename__ = "store"
    id: str = Field(primary_key=True)
    created_at: float


class Dataset(SQLModel, table=True):
    """A named sequence of versions; `head` is the latest version's number, 0 before the first."""

    __tablename__ = "dataset"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    head: int = 0
    created_at: float


class DatasetVersion(SQLModel, table=True):
    """Which contents one version holds. Version n + 1 never rewrites version n."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    number: int
    run_id: str = Field(foreign_key="run.id", unique=True)
    n_rows: int
    digest: str
    bits: bytes = _bits()
    counts: dict[str, Any] = _json()
    created_at: float
    #: Since when nobody resolves it any more; null = it stands.
    deleted_at: float | None = None


class Tag(SQLModel, table=True):
    """A lasting name of one version."""

    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    name: str
    number: int


class Counter(SQLModel, table=True):
    """The next free value of a sequence (`sid`); gaps are allowed, reuse is not."""

    __tablename__ = "counter"
    name: str = Field(primary_key=True)
    next: int = Field(sa_column=Column(BigInteger, nullable=False))


class Producer(SQLModel, table=True):
    """Whatever computes cells: an embedder, an LLM state, an influence function, an estimator.

    `facts` holds everything that changes a value; `fingerprint` is their hash.
    """

    __tablename__ = "producer"
    id: int | None = Field(default=None, primary_key=True)
    fingerprint: str = Field(unique=True)
    kind: str
    name: str
    dim: int = 0
    higher_means: str = "neither"
    facts: dict[str, Any] = _json()
    created_at: float


class Active(SQLModel, table=True):
    """The producers that `ingest` applies to a dataset's new rows."""

    __tablename__ = "active"
    __table_args__ = (UniqueConstraint("dataset_id", "producer_id"),)
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    producer_id: int = Field(foreign_key="producer.id")
    source: str  # where to load it from again: embedder spec, or the artifact of an estimator


class Block(SQLModel, table=True):
    """One immutable LanceDB table, vouched for. `bits` are the sids it speaks for."""

    __tablename__ = "block"
    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(index=True)
    producer_id: int | None = Field(default=None, foreign_key="producer.id", index=True)
    dataset_id: int | None = Field(default=None, foreign_key="dataset.id", index=True)
    run_id: str = Field(foreign_key="run.id")
    path: str = Field(unique=True)
    lance_version: int
    n_rows: int
    checksum: str
    bits: bytes = _bits()
    published_at: float
    #: Since when others hold its cells, or nobody may; null = it is read. `gc` removes its files.
    retired_at: float | None = None
    #: {"store", "run"} it was pulled from; empty = made here.
    origin: dict[str, Any] = _json()


class BlockFile(SQLModel, table=True):
    """Every file of a block, so that `verify` can find any changed, missing or extra byte."""

    __tablename__ = "block_file"
    id: int | None = Field(default=None, primary_key=True)
    block_id: int = Field(foreign_key="block.id", index=True)
    path: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: str


class Artifact(SQLModel, table=True):
    """A content-addressed file: an ONNX estimator."""

    __tablename__ = "artifact"
    sha256: str = Field(primary_key=True)
    kind: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: float


class Run(SQLModel, table=True):
    """One execution of a verb: who, what with, what it cost.

    The id is the fencing token: nothing is published unless this very run is still `writing`.
    """

    __tablename__ = "run"
    __table_args__ = (
        # At most one live run may hold a piece of work.
        Index(
            "one_writer_per_scope",
            "scope",
            unique=True,
            sqlite_where=text("state = 'writing'"),
            postgresql_where=text("state = 'writing'"),
        ),
    )
    id: str = Field(primary_key=True)
    verb: str
    scope: str
    state: str  # writing, committed, failed, aborted
    owner: str
    lease_until: float
    started_at: float
    finished_at: float | None = None
    params: dict[str, Any] = _json()
    cost: dict[str, Any] = _json()
    result: dict[str, Any] = _json()
    tool_version: str


class Estimator(SQLModel, table=True):
    """A trained network: what it imitates, what it reads, how good it is.

    Trained on `dataset_version_id`; null = in another store, then `card["origin"]` says where.
    """

    __tablename__ = "estimator"
    producer_id: int = Field(primary_key=True, foreign_key="producer.id")
    dataset_version_id: int | None = Field(default=None, foreign_key="dataset_version.id")
    method_id: int = Field(foreign_key="producer.id")
    output: str
    embedder_id: int = Field(foreign_key="producer.id")
    state_id: int | None = Field(default=None, foreign_key="producer.id")
    network: str
    artifact: str = Field(foreign_key="artifact.sha256")
    verdict: str
    card: dict[str, Any] = _json()
    run_id: str = Field(foreign_key="run.id")


class Selection(SQLModel, table=True):
    """An ordered choice of samples; its items are a block, its facts recompute it."""

    __tablename__ = "selection"
    id: str = Field(primary_key=True)
    dataset_version_id: int = Field(foreign_key="dataset_version.id")
    block_id: int = Field(foreign_key="block.id")
    objective: str
    kernel: str
    n_items: int
    facts: dict[str, Any] = _json()
    run_id: str = Field(foreign_key="run.id")
    created_at: float


class Forgotten(SQLModel, table=True):
    """A content that was taken out for good, known by its hash alone."""

    __tablename__ = "forgotten"
    sample_id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    run_id: str = Field(foreign_key="run.id")
    reason: str
    forgotten_at: float
