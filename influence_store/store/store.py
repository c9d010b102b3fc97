"""The store as a job sees it: resolve names, find what is missing, read cells, claim work."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlmodel import Session, col, select

from influence_store.schema.catalog import (
    Active,
    Block,
    Counter,
    Producer,
)
from influence_store.schema.identity import fingerprint
from influence_store.store import artifacts, grid, versions
from influence_store.store.grid import BlockRef
from influence_store.store.local import LocalStorage
from influence_store.store.location import create, find
from influence_store.store.nearest import nearest
from influence_store.store.runs import ActiveRun, claim
from influence_store.store.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl
    import pyarrow as pa

    from influence_store.protocols import Doubles, Floats, HigherMeans, Ids
    from influence_store.schema.catalog import Artifact
    from influence_store.store.location import Location


class Store:
    """An open store. Reading needs no lock; writing goes through `claim`."""

    def __init__(self, location: Location, tool_version: str) -> None:
        self.storage, self.database = location.storage, location.database
        self.uri = location.uri
        self._tool_version = tool_version

    @classmethod
    def init(
        cls, uri: str | Path, tool_version: str, database: str | None = None
    ) -> tuple[Store, bool]:
        """Create the store at `uri` if there is none; see `location.create`."""
        location, fresh = create(uri, database)
        return cls(location, tool_version), fresh

    @classmethod
    def open(cls, uri: str | Path, tool_version: str, database: str | None = None) -> Store:
        """Open an existing store; see `location.find`."""
        return cls(find(uri, database), tool_version)

    @property
    def scratch(self) -> Path:
        """A local folder for files that live as long as one command."""
        if isinstance(self.storage, LocalStorage):
            return self.storage.root / "tmp"
        return Path(gettempdir()) / "influence-store"

    # -- names -------------------------------------------------------------------------------

    def version(self, ref: str) -> Version:
        """The version that `name`, `name@3`, `name@tag` or `name@latest` means."""
        return versions.resolve(self.database, ref)

    def version_by_id(self, version_id: int) -> Version:
        """The version with this row id, as other rows refer to it."""
        return versions.by_id(self.database, version_id)

    def versions(self) -> list[Version]:
        """Every version of every dataset that was not deleted, oldest first."""
        return versions.standing(self.database)

    def version_names(self) -> list[tuple[str, int]]:
        """(dataset, number) of the same, without what they hold."""
        return versions.names(self.database)

    def heads(self) -> list[Version]:
        """The newest version of every dataset that has one, oldest dataset first."""
        return versions.heads(self.database)

    # -- producers and their cells -----------------------------------------------------------

    def producer(
        self,
        kind: str,
        name: str,
        facts: Mapping[str, Any],
        *,
        dim: int = 0,
        higher_means: HigherMeans = "neither",
    ) -> Producer:
        """The producer with exactly these facts, registered now if it is new."""

        def work(session: Session) -> Producer:
            return self.producer_in(session, kind, name, facts, dim=dim, higher_means=higher_means)

        return self.database.write(work)

    def producer_in(
        self,
        session: Session,
        kind: str,
        name: str,
        facts: Mapping[str, Any],
        *,
        dim: int,
        higher_means: HigherMeans,
    ) -> Producer:
        """The same as a part of a publish, so that the producer appears with what it is for."""
        print_ = fingerprint({"kind": kind, "name": name, "facts": dict(facts)})
        found = session.exec(select(Producer).where(Producer.fingerprint == print_)).first()
        if found is None:
            found = Producer(
                fingerprint=print_,
                kind=kind,
                name=name,
                dim=dim,
                higher_means=higher_means,
                facts=dict(facts),
                created_at=self.database.now(session),
            )
            session.add(found)
            session.flush()
        return found

    def find_producer(self, kind: str, name: str, facts: Mapping[str, Any]) -> Producer | None:
        """The producer with exactly these facts, if it is registered."""
        print_ = fingerprint({"kind": kind, "name": name, "facts": dict(facts)})
        with self.database.read() as session:
            return session.exec(select(Producer).where(Producer.fingerprint == print_)).first()

    def producers(self, kind: str | None = None) -> list[Producer]:
        """Registered producers, oldest first."""
        with self.database.read() as session:
            query = select(Producer).order_by(col(Producer.id))
            if kind is not None:
                query = query.where(Producer.kind == kind)
            return list(session.exec(query).all())

    def active(self, dataset_id: int) -> list[tuple[Producer, str]]:
        """Producers applied to new rows of a dataset, with where to load each from."""
        with self.database.read() as session:
            rows = session.exec(
                select(Producer, Active.source)
                .join(Active, col(Active.producer_id) == col(Producer.id))
                .where(Active.dataset_id == dataset_id)
                .order_by(col(Active.id))
            ).all()
            return [(producer, source) for producer, source in rows]

    def activate(self, dataset_id: int, producer_id: int, source: str) -> None:
        """Let `ingest` apply this producer to the dataset's new rows from now on."""

        def work(session: Session) -> None:
            same = select(Active).where(
                Active.dataset_id == dataset_id, Active.producer_id == producer_id
            )
            row = session.exec(same).first() or Active(
                dataset_id=dataset_id, producer_id=producer_id, source=source
            )
            row.source = source
            session.add(row)

        self.database.write(work)

    def blocks(
        self, kind: str, *, producer_id: int | None = None, dataset_id: int | None = None
    ) -> list[BlockRef]:
        """Live blocks of a kind, in the order of publication."""
        live = select(Block).where(Block.kind == kind, col(Block.retired_at).is_(None))
        query = live.order_by(col(Block.id))
        if producer_id is not None:
            query = query.where(Block.producer_id == producer_id)
        if dataset_id is not None:
            query = query.where(Block.dataset_id == dataset_id)
        with self.database.read() as session:
            return [_block(row) for row in session.exec(query).all()]

    def rows_of_run(self, run_id: str) -> int:
        """How many rows a run wrote, whether its blocks are read today or not."""
        with self.database.read() as session:
            rows = session.exec(select(Block.n_rows).where(Block.run_id == run_id)).all()
        return sum(rows)

    def covered(self, producer_id: int) -> BitMap:
        """The sids that have a cell of this producer."""
        with self.database.read() as session:
            query = select(Block.bits).where(
                Block.producer_id == producer_id, col(Block.retired_at).is_(None)
            )
            return BitMap.union(
                BitMap(), *[BitMap.deserialize(bits) for bits in session.exec(query).all()]
            )

    def missing(self, version: Version, producer: Producer) -> BitMap:
        """The rows of `version` without a cell of `producer`: all that is left to compute."""
        assert producer.id is not None
        return version.bits - self.covered(producer.id)

    def scan(
        self, blocks: Sequence[BlockRef], columns: Sequence[str], sids: BitMap | None = None
    ) -> Iterator[pa.RecordBatch]:
        """See `grid.scan`."""
        return grid.scan(self.storage, blocks, columns, sids)

    def vectors(self, producer: Producer, sids: Ids, column: str = "vector") -> Floats:
        """One stored vector per sid, (len(sids), dim)."""
        assert producer.id is not None
        blocks = self.blocks(producer.kind, producer_id=producer.id)
        return grid.matrix(self.storage, blocks, column, sids, producer.dim, self.scratch)

    def nearest(
        self, producer: Producer, query: Floats, k: int, bits: BitMap
    ) -> tuple[Ids, Doubles]:
        """See `nearest.nearest`."""
        blocks = self.blocks(producer.kind, producer_id=producer.id)
        return nearest(self.storage, blocks, query, k, bits)

    def points(self, producer: Producer, bits: BitMap | None = None) -> pl.DataFrame:
        """All values of a pointwise method for `bits`: sid, its outputs, n_tokens, truncated."""
        import polars as pl

        blocks = self.blocks("points", producer_id=producer.id)
        if not blocks:
            return pl.DataFrame(schema={"sid": pl.Int64})
        columns = grid.open_block(self.storage, blocks[0]).schema.names
        batches = [pl.from_arrow(batch) for batch in self.scan(blocks, columns, bits)]
        frames = [frame for frame in batches if isinstance(frame, pl.DataFrame)]
        return pl.concat(frames).sort("sid") if frames else pl.DataFrame(schema={"sid": pl.Int64})

    def pairs(self, producer: Producer) -> pl.DataFrame:
        """All teacher values of a pairwise method: source, target and one column per output."""
        import polars as pl

        blocks = self.blocks("pairs", producer_id=producer.id)
        frames = []
        for block in blocks:
            table = grid.open_block(self.storage, block)
            for batch in table.scan(table.schema.names):
                frames.append(pl.from_arrow(batch))
        if not frames:
            return pl.DataFrame(schema={"source": pl.Int64, "target": pl.Int64})
        whole = pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)])
        # Two teams may have paid for the same pair; the first published fact stands.
        return whole.unique(["source", "target"], keep="first", maintain_order=True)

    def sample_ids(self, bits: BitMap | None = None) -> pl.DataFrame:
        """(sid, sample_id) of every distinct content in the store, or of those in `bits`."""
        from influence_store.store import contents

        return contents.everything(self.scan(self.blocks("samples"), contents.COLUMNS, bits))

    def sids_of(self, ids: Sequence[bytes]) -> pl.DataFrame:
        """(sid, sample_id) of those contents that the store holds, in no certain order."""
        from influence_store.store import contents

        return contents.among(self.scan(self.blocks("samples"), contents.COLUMNS), ids)

    def sids_beginning(self, prefixes: Sequence[str]) -> pl.DataFrame:
        """(sid, sample_id) of the contents whose id begins with one of `prefixes` (hex)."""
        from influence_store.store import contents

        return contents.beginning(self.scan(self.blocks("samples"), contents.COLUMNS), prefixes)

    # -- writing -----------------------------------------------------------------------------

    def claim(self, verb: str, scope: str, params: Mapping[str, Any]) -> ActiveRun:
        """Begin a run; see `runs.claim`."""
        return claim(self.database, self.storage, verb, scope, params, self._tool_version)

    def reserve_sids(self, n: int) -> int:
        """The first of `n` fresh consecutive sids; unused ones stay unused."""

        def work(session: Session) -> int:
            counter = session.get(Counter, "sid", with_for_update=True)
            counter = counter or Counter(name="sid", next=0)
            first = counter.next
            counter.next = first + n
            session.add(counter)
            return first

        return self.database.write(work)

    def put_artifact(self, content: bytes, kind: str) -> Artifact:
        """See `artifacts.put`."""
        with self.database.read() as session:
            now = self.database.now(session)
        return artifacts.put(self.storage, content, kind, now)

    def get_artifact(self, sha256: str) -> bytes:
        """See `artifacts.get`."""
        return artifacts.get(self.storage, sha256)


def _block(row: Block) -> BlockRef:
    assert row.id is not None
    return BlockRef(
        row.id,
        row.kind,
        row.path,
        row.lance_version,
        row.n_rows,
        BitMap.deserialize(row.bits),
        row.producer_id,
        row.dataset_id,
        row.run_id,
    )
