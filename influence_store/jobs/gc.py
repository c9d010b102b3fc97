"""`gc`: remove the files that nobody will ever read again.

list what lies there → fence, in one SQL transaction: give up runs that died, retire what nothing
stands on any more, drop the rows of blocks that were retired long enough ago, read what must stay
→ delete what was listed and need not stay

Listing before fencing is what makes it safe beside writers: a run that begins later has nothing on
the list, one that is alive keeps its own tables, one that was given up can publish no more. Killed
after the fence, it leaves tables that nobody names, for the next one.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, text
from sqlmodel import col, select

from influence_store.counted import agree, counted
from influence_store.jobs.alone import refuse_others
from influence_store.jobs.delete import unneeded
from influence_store.jobs.inventory import BALLAST, listing, run_of
from influence_store.schema.catalog import Artifact, Block, BlockFile, Run, Selection
from influence_store.settings import lease_seconds
from influence_store.store import owner
from influence_store.store.faults import step
from influence_store.store.local import LocalStorage
from influence_store.store.versions import UNDO_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlmodel import Session

    from influence_store.jobs.inventory import Listing
    from influence_store.store.storage import Storage, StoredFile
    from influence_store.store.store import Store

_log = logging.getLogger(__name__)

#: Files that carry no run's name are judged by their age, however short the grace.
_LEFTOVER_SECONDS = 3600.0
BALLAST_BYTES = 16 << 20
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Heap:
    """Files of one sort."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{counted(self.files, 'file')}, {counted(self.bytes, 'byte')}"


@dataclass(frozen=True)
class GcReport:
    """What was (or with `done` False: would be) removed, and what has to wait.

    `blocks_freed` are retired from now on, for a later gc to remove;
    `retired_kept` blocks are too young, or a run that began before is still at work;
    `unknown_tables` are of runs that the catalog never heard of, and stay.
    """

    store: str
    done: bool
    tables_of_dead_runs: Heap
    retired_blocks: Heap
    objects: Heap
    leftovers: Heap
    rows_removed: int
    runs_given_up: int
    blocks_freed: int
    retired_kept: int
    unknown_tables: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        verb = "removed" if self.done else "would remove"
        heaps = {
            "tables of dead runs": self.tables_of_dead_runs,
            "retired blocks": self.retired_blocks,
            "objects that nothing names": self.objects,
            "leftovers of writing": self.leftovers,
        }
        told = [f"{verb} {name}: {heap}" for name, heap in heaps.items() if heap.files]
        told = told or ["nothing to remove"]
        if self.runs_given_up:
            told.append(
                f"{counted(self.runs_given_up, 'run that died is', 'runs that died are')} given up"
            )
        if self.blocks_freed:
            verb = "are" if self.done else "would be"
            freed = counted(self.blocks_freed, "block")
            told.append(f"{freed} that nothing stands on {verb} retired now")
        if self.retired_kept:
            kept = counted(self.retired_kept, "retired block stays", "retired blocks stay")
            told.append(f"{kept}: too young, or read by a run")
        if self.unknown_tables:
            stay = agree(self.unknown_tables, "stays", "stay")
            told.append(
                f"{counted(self.unknown_tables, 'table')} of unknown runs {stay}; see: verify"
            )
        if not self.done and any(heap.files for heap in heaps.values()):
            told.append("nothing was touched; to do it: influence-store gc --yes")
        return told


@dataclass(frozen=True)
class _Known:
    """What the catalog says must stay: paths, block ids, sha256s and runs."""

    live: set[str]
    retired: list[tuple[int, str, float]]
    selected: set[int]
    hashes: set[str]
    runs: set[str]
    alive: list[Run]
    given_up: list[Run]


@dataclass(frozen=True)
class _Doomed:
    """What goes: tables of dead runs, tables of retired blocks, bare objects, leftovers."""

    tables: list[StoredFile]
    retired: list[StoredFile]
    objects: list[StoredFile]
    leftovers: list[StoredFile]
    rows: list[int]
    given_up: list[Run]
    retired_kept: int
    unknown: int


def gc(
    store: Store, *, grace: float = UNDO_SECONDS, cells: bool = False, act: bool = False
) -> GcReport:
    """Remove what nobody reads; without `act` only tell it, and write nothing at all.

    Retired blocks stay for `grace` seconds, and while any run is alive that began before they
    were retired. Blocks that only deleted versions stand on are retired now; with `cells` also
    contents that no version holds, and what was computed of them. Busy if another gc is at work,
    with `cells` if any other run is.
    """
    return _done(store, grace, cells) if act else _planned(store, grace, cells)


def _planned(store: Store, grace: float, cells: bool) -> GcReport:
    there = listing(store.storage.files())
    with store.database.read() as session:
        now = store.database.now(session)
        n_freed = len(unneeded(session, now, grace, cells=cells))
        doomed = _doomed(_known(session, now), there, now, grace)
    return _report(store, doomed, n_freed, done=False)


def _done(store: Store, grace: float, cells: bool) -> GcReport:
    make_room(store.storage)
    with store.claim("gc", "gc", {"grace": grace, "cells": cells}) as run:
        there = listing(store.storage.files())
        step("gc-listed")

        def fence(session: Session) -> tuple[_Doomed, int]:
            now = store.database.now(session)
            if cells:
                refuse_others(session, now, run.id)
            n_freed = _retire(session, unneeded(session, now, grace, cells=cells), now)
            doomed = _doomed(_known(session, now, run.id), there, now, grace)
            _give_up(session, doomed, now)
            return doomed, n_freed

        doomed, n_freed = store.database.write(fence)
        step("gc-fenced")
        for files in (doomed.leftovers, doomed.tables, doomed.retired):
            store.storage.delete([file.path for file in files])
            step("gc-deleted")
        if doomed.objects:
            store.database.write(lambda session: _delete_objects(store, session, doomed.objects))
        keep_ballast(store)
        report = _report(store, doomed, n_freed, done=True)
        run.report(report.facts(), {})
    return report


def make_room(storage: Storage) -> None:
    """Give the ballast up if the disk is full: even to fence, SQL needs space."""
    if not isinstance(storage, LocalStorage) or not storage.exists(BALLAST):
        return
    if shutil.disk_usage(storage.root).free < BALLAST_BYTES:
        storage.delete([BALLAST])
        _log.warning("the disk is full: the ballast of %s was given up", storage.uri)


def keep_ballast(store: Store) -> None:
    """Put some space by for the next full disk; only a catalog beside the blocks needs it."""
    storage = store.storage
    if not isinstance(storage, LocalStorage) or not store.database.url.startswith("sqlite"):
        return
    # Bytes that no file system can squeeze.
    if not storage.exists(BALLAST) and (shutil.disk_usage(storage.root).free > 4 * BALLAST_BYTES):
        storage.put(BALLAST, os.urandom(BALLAST_BYTES))


def _retire(session: Session, ids: Sequence[int], now: float) -> int:
    for id_ in ids:
        session.get_one(Block, id_).retired_at = now
    session.flush()
    return len(ids)


def _give_up(session: Session, doomed: _Doomed, now: float) -> None:
    """Runs that died can publish no more, and nobody can bring back what is going to be deleted."""
    for run in doomed.given_up:
        run.state, run.finished_at = "aborted", now
        session.add(run)
    for k in range(0, len(doomed.rows), _ROWS_AT_ONCE):
        part = doomed.rows[k : k + _ROWS_AT_ONCE]
        session.exec(delete(BlockFile).where(col(BlockFile.block_id).in_(part)))
        session.exec(delete(Block).where(col(Block.id).in_(part)))


def _known(session: Session, now: float, ours: str = "") -> _Known:
    """Only what is needed: this is read while nobody else can write."""
    blocks = session.exec(select(Block.id, Block.path, Block.retired_at)).all()
    query = select(Run).where(Run.state == "writing", Run.id != ours)
    writing = session.exec(query).all()
    given_up = [
        run for run in writing
        if owner.is_dead(run.owner) or run.lease_until + lease_seconds() < now
    ]  # fmt: skip
    return _Known(
        live={path for _, path, retired_at in blocks if retired_at is None},
        retired=[(id_ or 0, path, at) for id_, path, at in blocks if at is not None],
        selected=set(session.exec(select(Selection.block_id)).all()),
        hashes=set(session.exec(select(Artifact.sha256)).all()),
        runs=set(session.exec(select(Run.id)).all()),
        alive=[run for run in writing if run not in given_up],
        given_up=given_up,
    )


def _doomed(known: _Known, there: Listing, now: float, grace: float) -> _Doomed:
    oldest = min([now, *(run.started_at for run in known.alive)])
    retired = {
        path: id_ for id_, path, at in known.retired
        if at < min(now - grace, oldest) and id_ not in known.selected
    }  # fmt: skip
    kept = known.live | {path for _, path, _ in known.retired}
    finished = known.runs - {run.id for run in known.alive}
    dead = [path for path in there.folders if path not in kept and run_of(path) in finished]
    unknown = [path for path in there.folders if run_of(path) not in known.runs]
    old = oldest - max(grace, _LEFTOVER_SECONDS)
    objects = [
        file for sha256, file in there.objects.items()
        # Whoever else keeps tables here may keep objects too.
        if sha256 not in known.hashes and file.modified < old and not unknown
    ]  # fmt: skip
    return _Doomed(
        tables=[file for path in dead for file in there.folders[path]],
        retired=[file for path in retired for file in there.folders.get(path, ())],
        objects=objects,
        leftovers=[file for file in there.leftovers if file.modified < old],
        rows=list(retired.values()),
        given_up=known.given_up,
        retired_kept=len(known.retired) - len(retired),
        unknown=len(unknown),
    )


def _delete_objects(store: Store, session: Session, files: Sequence[StoredFile]) -> None:
    """Delete what is still nobody's, while nobody can publish.

    An object has its name from its bytes, so a new run may bring one that lies here already: it
    writes it again, which makes it young, and vouches for it when it publishes.
    """
    if session.connection().dialect.name == "postgresql":
        session.connection().execute(text("lock table artifact in share row exclusive mode"))
    hashes = set(session.exec(select(Artifact.sha256)).all())
    for file in files:
        now = [one for one in store.storage.files(file.path.rpartition("/")[0]) if one == file]
        if now and file.path.rpartition("/")[2] not in hashes:
            store.storage.delete([file.path])


def _report(store: Store, doomed: _Doomed, n_freed: int, *, done: bool) -> GcReport:
    return GcReport(
        store=store.uri,
        done=done,
        tables_of_dead_runs=_heap(doomed.tables),
        retired_blocks=_heap(doomed.retired),
        objects=_heap(doomed.objects),
        leftovers=_heap(doomed.leftovers),
        rows_removed=len(doomed.rows),
        runs_given_up=len(doomed.given_up),
        blocks_freed=n_freed,
        retired_kept=doomed.retired_kept,
        unknown_tables=doomed.unknown,
    )


def _heap(files: Iterable[StoredFile]) -> Heap:
    sizes = [file.size for file in files]
    return Heap(len(sizes), sum(sizes))
