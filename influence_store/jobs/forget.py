"""`forget`: samples leave the store for good, with all that was computed of them.

Every live block that holds a row of a forgotten sample is written anew without it; an index of
neighbours that knows it, a list of leaks and the cover of a selection that chose it are dropped and
made again when they are asked for. Every version that held it, also a deleted one, loses it and
gets a new digest: the one exception to "a version never changes". All of that is one publish. Of
the sample its hash stays, so that it is refused when a file brings it again.

The old files go with the next `gc`. Backups, exports and other stores keep what they have: they
are not within reach, and the report says so. Estimators that learned from the sample, and
selections that chose it, are named; the selections lose it and keep the ranks of the others.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap
from sqlmodel import Session, col, func, select

from influence_store.counted import counted
from influence_store.errors import UsageError
from influence_store.jobs.alone import refuse_others
from influence_store.jobs.cells import sids_named
from influence_store.jobs.compact import keep_age
from influence_store.jobs.forget_blocks import ITEMS, Without, learned_from, without
from influence_store.schema.catalog import (
    Block,
    Dataset,
    DatasetVersion,
    Forgotten,
    Run,
    Selection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store


@dataclass(frozen=True)
class ForgetReport:
    """`rows` are those that were taken out, by kind of block; `alike` ids nearly repeat them."""

    samples: tuple[str, ...]
    already: tuple[str, ...]
    versions: tuple[str, ...]
    rows: dict[str, int]
    selections: tuple[str, ...]
    estimators: tuple[str, ...]
    alike: tuple[str, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    def lines(self) -> list[str]:
        """For people."""
        if not self.samples:
            known = counted(len(self.already), "sample was", "samples were")
            return [f"{known} forgotten before; nothing was changed"]
        removed = ", ".join(f"{n:,} {kind}" for kind, n in self.rows.items())
        told = [
            f"forgot {counted(len(self.samples), 'sample')}; rows taken out: {removed}",
            f"  versions that held them: {', '.join(self.versions) or 'none'}",
        ]
        told += [f"  selection {one} had chosen some of them" for one in self.selections]
        told += [f"  estimator {one} learned from some of them" for one in self.estimators]
        if self.alike:
            told.append(f"  rows that nearly repeat them stay: {', '.join(self.alike[:5])}")
        told += [f"  note: {note}" for note in self.notes]
        told.append("their bytes leave the disk with: influence-store gc")
        return [*told, "backups, exports and other stores that pulled still hold them"]


def forget(store: Store, samples: Sequence[str], reason: str) -> ForgetReport:
    """Take out the samples whose ids begin with each of `samples` (hex).

    Busy while any other run is at work, NotFound or UsageError for ids that name no sample or
    several, IntegrityError if a block that holds one is damaged; then nothing was changed.
    """
    if not reason.strip():
        raise UsageError("say why: --reason TEXT", hint="it is kept beside the sample's hash")
    already, wanted = _split(store, samples)
    if not wanted:
        return ForgetReport((), already, (), {}, (), (), (), ())
    gone = BitMap(sids_named(store, wanted).astype(np.uint32))
    params = {"samples": list(wanted), "reason": reason}
    with store.claim("forget", "forget", params) as run:
        _check_alone(store, run)
        report = None
        while report is None:
            report = _publish(store, run, gone, without(store, run, gone), reason)
        notes = [note] if (note := _scrubbed(store)) else []
        report = replace(report, already=already, notes=tuple(notes))
        run.report(report.facts(), {})
    return report


def _split(store: Store, samples: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Ids that were forgotten before, and all others."""
    with store.database.read() as session:
        known = {one.hex() for one in session.exec(select(Forgotten.sample_id)).all()}
    already = tuple(one for one in samples if one.lower() in known)
    return already, [one for one in samples if one.lower() not in known]


def _check_alone(store: Store, run: ActiveRun) -> None:
    def work(session: Session) -> None:
        refuse_others(session, store.database.now(session), run.id)

    store.database.write(work)


class _Raced(Exception):
    """A block was published while others were being written anew."""


def _publish(
    store: Store, run: ActiveRun, gone: BitMap, work: Without, reason: str
) -> ForgetReport | None:
    """All of it at once; None if a block was published since, which may hold one of `gone`."""
    ids = store.sample_ids(gone | BitMap(work.alike))
    hexes = {sid: one for sid, one in ids.select("sid", "sample_id").iter_rows()}
    estimators = tuple(learned_from(store, gone))
    told: list[ForgetReport] = []

    def more(session: Session, block_ids: list[int]) -> None:
        now = store.database.now(session)
        refuse_others(session, now, run.id)
        newest = select(func.max(Block.id)).where(Block.run_id != run.id)
        if (session.exec(newest).one() or 0) > work.last_block:
            raise _Raced
        keep_age(session, work.made, block_ids)
        for sid in gone:
            row = Forgotten(sample_id=hexes[sid], run_id=run.id, reason=reason, forgotten_at=now)
            session.merge(row)
        _blank_texts(session)
        told[:] = [
            ForgetReport(
                samples=tuple(hexes[sid].hex() for sid in gone),
                already=(),
                versions=tuple(_from_versions(session, gone)),
                rows=work.rows,
                selections=tuple(_from_selections(session, work, block_ids)),
                estimators=estimators,
                alike=tuple(hexes[sid].hex() for sid in work.alike),
                notes=(),
            )
        ]

    old = [block.id for one in work.made for block in one.old]
    staged = [one.staged for one in work.made if one.staged is not None]
    try:
        run.publish(staged, more, retire=[*old, *(block.id for block in work.dropped)])
    except _Raced:
        return None
    return told[0]


def _from_versions(session: Session, gone: BitMap) -> Iterator[str]:
    """Every version that held one, also a deleted one; that is told in its counts."""
    query = select(DatasetVersion, Dataset.name).join(Dataset)
    for row, name in session.exec(query.order_by(col(DatasetVersion.id))).all():
        bits = BitMap.deserialize(row.bits)
        if not (lost := len(bits & gone)):
            continue
        left = bits - gone
        row.bits, row.n_rows = left.serialize(), len(left)
        row.digest = hashlib.blake2b(row.bits, digest_size=16).hexdigest()
        row.counts = {**row.counts, "forgotten_since": row.counts.get("forgotten_since", 0) + lost}
        session.add(row)
        yield f"{name}@{row.number}"


def _from_selections(session: Session, work: Without, ids: Sequence[int]) -> Iterator[str]:
    """Their items are other blocks now; a selection of which nothing is left goes."""
    written, became = iter(ids), dict[int, tuple[int | None, int]]()
    for one in work.made:
        id_ = next(written) if one.staged is not None else None
        left = one.staged.n_rows if one.staged is not None else 0
        became.update({block.id: (id_, left) for block in one.old if block.kind == ITEMS})
    for row in session.exec(select(Selection).order_by(col(Selection.created_at))).all():
        if row.block_id not in became:
            continue
        id_, left = became[row.block_id]
        lost = row.facts.get("forgotten", 0) + row.n_items - left
        if id_ is None:
            session.delete(row)
        else:
            row.block_id, row.n_items = id_, left
            row.facts = {**row.facts, "forgotten": lost}
            session.add(row)
        yield row.id


def _blank_texts(session: Session) -> None:
    """The commonest words of a target, told by `leaks`, are the only text in the catalog.

    They are kept where the list of leaks is.
    """
    live = select(Block.run_id).where(Block.kind == "leaks", col(Block.retired_at).is_(None))
    kept = set(session.exec(live).all())
    for run in session.exec(select(Run).where(Run.verb == "leaks")).all():
        if run.id not in kept and run.result.get("template"):
            run.result = {**run.result, "template": None}
            session.add(run)


def _scrubbed(store: Store) -> str:
    """Overwrite what the database keeps of changed rows; what hindered that, if anything did."""
    engine = store.database.engine
    if engine.dialect.name != "sqlite":
        return "PostgreSQL keeps old rows until VACUUM, and in its write-ahead log and backups"
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (busy, *_) = cursor.fetchone() or (0,)
    except sqlite3.Error as error:
        return f"the catalog still keeps old pages: {error}"
    finally:
        connection.close()
    return "the catalog still keeps old pages, as others read it just now" if busy else ""
