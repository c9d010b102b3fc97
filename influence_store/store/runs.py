"""The commit protocol: claim → stage blocks → publish in one SQL transaction → finish.

    claim     one live run per scope; a dead or expired holder is fenced off first
    stage     blocks.py: own path (it holds the run id), read back, synced, hashed
    publish   checks that this run still holds its claim, then vouches for the blocks
    finish    states result and cost; the seconds it took are written with every publish

A killed process leaves at most unpublished files in its own paths; a process that was only
asleep finds itself fenced at its next publish. Readers see published blocks and nothing else.
"""

from __future__ import annotations

import logging
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlmodel import Session, col, select, update

from influence_store.errors import Busy, Fenced, InfluenceStoreError, StorageError
from influence_store.meter import Meter, Taken
from influence_store.schema.catalog import Artifact, Block, BlockFile, Run
from influence_store.settings import lease_seconds
from influence_store.store import blocks as staging
from influence_store.store import owner
from influence_store.store.artifacts import path_of
from influence_store.store.faults import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from influence_store.store.database import Database
    from influence_store.store.storage import Storage

_log = logging.getLogger(__name__)

#: Seconds of retrying where giving up loses nothing.
_BRIEFLY = 5.0


@dataclass(frozen=True)
class Slot:
    """Paths that one attempt at one piece of a run may write, here or in another process.

    They hold the run's id, its fencing token; nobody else is ever given the same `number` of it.
    """

    run: str
    number: int

    def path(self, kind: str, nth: int = 1) -> str:
        """Of the `nth` block of that kind that the attempt writes."""
        more = f"-{nth}" if nth > 1 else ""
        return f"blocks/{kind}/{self.run}-{self.number:05d}{more}.lance"


class ActiveRun:
    """A claimed piece of work; use as a context manager. An exception marks the run failed."""

    def __init__(self, database: Database, storage: Storage, run: Run) -> None:
        self.id, self._meter = run.id, Meter()
        self._database, self._storage, self._run = database, storage, run
        self._n_slots = self._n_published = 0
        self._elsewhere = Taken()
        self._result: dict[str, Any] = {}
        self._cost: dict[str, Any] = {}
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> ActiveRun:
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._heart.join()
        if kind is None:
            self._close("committed")
        else:
            self._give_up()
        step("finished")

    def stage(
        self,
        kind: str,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        bits: BitMap,
        *,
        producer_id: int | None = None,
        dataset_id: int | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> staging.StagedBlock:
        """Write one block under a path of this run alone; see `blocks.stage`.

        Fenced if it failed and the claim was lost.
        """
        path = self.slot().path(kind)
        with self.or_fenced():
            return staging.stage(
                self._storage,
                path,
                batches,
                schema,
                kind=kind,
                bits=bits,
                producer_id=producer_id,
                dataset_id=dataset_id,
                origin=origin,
            )

    def slot(self) -> Slot:
        """A new one; where somebody else stages, in another process, nothing is published."""
        self._n_slots += 1
        return Slot(self.id, self._n_slots)

    @contextmanager
    def or_fenced(self) -> Iterator[None]:
        """Fenced, in place of what failed inside, where the claim was lost meanwhile."""
        try:
            yield
        except (OSError, InfluenceStoreError):
            # `gc` takes the files of a run that was given up from under it: then say that.
            self._database.write(self._held)
            raise

    def publish(
        self,
        blocks: Sequence[staging.StagedBlock],
        more: Callable[[Session, list[int]], None] = lambda _session, _ids: None,
        artifacts: Sequence[Artifact] = (),
        spent: Mapping[str, Any] | None = None,
        retire: Sequence[int] = (),
    ) -> None:
        """Make `blocks` (and whatever `more` adds, given their ids) true, all or nothing.

        `spent` is the cost of the run so far: it stays known if the process is killed later.
        `retire` are the ids of blocks that nobody shall read any more; Fenced if one of them is
        retired already, as what replaces it was made from what another run changed.

        Cells that another run published since are dropped from our bitmaps: a fact has one
        value. Fenced if the claim was lost.
        """
        step("publish-begun")

        def work(session: Session) -> None:
            run = self._held(session)
            if run.result.get("published", 0) > self._n_published:
                return  # committed by an earlier try, of which only the answer was lost
            run.result = {"published": self._n_published + 1}
            took = self._meter.read() + self._elsewhere
            run.cost = {**run.cost, **(spent or {}), **took.facts()}
            session.add(run)
            now = self._database.now(session)
            _retire(session, retire, now)
            for artifact in artifacts:
                self._vouch(session, artifact)
            more(session, [_insert(session, block, self.id, now) for block in blocks])

        self._database.write(work)
        self._n_published += 1
        step("published")

    def report(self, result: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
        """What the run achieved and spent, stored when it ends; it counts the seconds itself."""
        self._result, self._cost = dict(result), dict(cost)

    def count(self, taken: Taken) -> None:
        """Add CPU and GPU seconds of other processes, which this one cannot measure."""
        self._elsewhere += taken

    def _vouch(self, session: Session, artifact: Artifact) -> None:
        """Fenced if the file is gone: `gc` removes what no row has named for a day."""
        if session.get(Artifact, artifact.sha256) is not None:
            return
        if not self._storage.exists(path_of(artifact.sha256)):
            raise Fenced(
                f"artifact {artifact.sha256[:12]} was removed before it was published",
                hint="gc took it for a leftover; run the command again",
            )
        session.add(Artifact(**artifact.model_dump()))

    def _held(self, session: Session) -> Run:
        """Our row, if the claim still stands."""
        run = session.get(Run, self.id, with_for_update=True)
        if run is None or run.state != "writing":
            raise Fenced(
                f"run {self.id} lost its claim on {self._run.scope} and must not publish",
                hint="another process took over after this one was silent too long; see `status`",
            )
        return run

    def _beat(self) -> None:
        while not self._stop.wait(max(lease_seconds() / 6, 0.05)):

            def work(session: Session) -> None:
                lease = self._database.now(session) + lease_seconds()
                session.exec(
                    update(Run)
                    .where(col(Run.id) == self.id, col(Run.state) == "writing")
                    .values(lease_until=lease)
                )

            try:
                self._database.write(work, patience=_BRIEFLY)
            except StorageError as error:
                # The lease runs on; if the database stays away, publish will tell.
                _log.warning("heartbeat of run %s failed: %s", self.id, error)

    def _give_up(self) -> None:
        """What went wrong must be heard, even if nobody can be told that the run ended."""
        try:
            self._close("failed", patience=_BRIEFLY)
        except StorageError as error:
            _log.warning("run %s stays open until its lease ends: %s", self.id, error)

    def _close(self, state: str, patience: float | None = None) -> None:
        took = (self._meter.stop() + self._elsewhere).facts()

        def work(session: Session) -> None:
            run = session.get(Run, self.id)
            if run is not None and run.state == "writing":
                run.state, run.finished_at = state, self._database.now(session)
                # A run that failed has paid for what it published before.
                run.result, run.cost = self._result, {**run.cost, **self._cost, **took}
                session.add(run)

        self._database.write(work, patience)


def claim(
    database: Database,
    storage: Storage,
    verb: str,
    scope: str,
    params: Mapping[str, Any],
    version: str,
) -> ActiveRun:
    """Take the work `scope` for this process; Busy if a live run holds it."""
    run_id = uuid.uuid4().hex[:16]

    def work(session: Session) -> Run:
        if (ours := session.get(Run, run_id)) is not None:
            return ours  # committed by an earlier try, of which only the answer was lost
        now = database.now(session)
        holders = select(Run).where(Run.scope == scope, Run.state == "writing")
        if (holder := fence_dead(session, session.exec(holders).all(), now)) is not None:
            raise Busy(
                f"{holder.verb} is already at work here: {owner.describe(holder.owner)}, "
                f"for {now - holder.started_at:.0f} s",
                hint="wait for it, or stop it and run this command again; see `status`",
            )
        run = Run(
            id=run_id,
            verb=verb,
            scope=scope,
            state="writing",
            owner=owner.this_process(),
            lease_until=now + lease_seconds(),
            started_at=now,
            params=dict(params),
            tool_version=version,
        )
        session.add(run)
        return run

    run = database.write(work)
    step("claimed")
    return ActiveRun(database, storage, run)


def is_alive(run: Run, now: float) -> bool:
    """Whether a run that is `writing` may still publish: its process lives and its lease runs."""
    return not owner.is_dead(run.owner) and run.lease_until > now


def fence_dead(session: Session, writing: Iterable[Run], now: float) -> Run | None:
    """Let those of the runs `writing` that died publish no more; the first that lives, if any."""
    for run in writing:
        if is_alive(run, now):
            return run
        run.state, run.finished_at = "aborted", now
        session.add(run)
    session.flush()
    return None


def _retire(session: Session, ids: Sequence[int], now: float) -> None:
    for id_ in ids:
        row = session.get(Block, id_, with_for_update=True)
        if row is None or row.retired_at is not None:
            raise Fenced(
                f"block {id_} was replaced by another run meanwhile; nothing was published",
                hint="run the command again",
            )
        row.retired_at = now
        session.add(row)
    session.flush()


def _insert(session: Session, block: staging.StagedBlock, run_id: str, now: float) -> int:
    bits = block.bits
    if block.producer_id is not None and block.kind != "pairs":
        taken = select(Block.bits).where(
            Block.producer_id == block.producer_id, col(Block.retired_at).is_(None)
        )
        for other in session.exec(taken).all():
            bits = bits - BitMap.deserialize(other)
    row = Block(
        kind=block.kind,
        producer_id=block.producer_id,
        dataset_id=block.dataset_id,
        run_id=run_id,
        path=block.path,
        lance_version=block.lance_version,
        n_rows=block.n_rows,
        checksum=block.checksum,
        bits=bits.serialize(),
        published_at=now,
        origin=dict(block.origin or {}),
    )
    session.add(row)
    session.flush()
    assert row.id is not None
    for file in block.files:
        session.add(BlockFile(block_id=row.id, path=file.path, size=file.size, sha256=file.sha256))
    return row.id
