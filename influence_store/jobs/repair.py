"""`repair`: put damaged bytes out of the way, so that what is lost can be made again.

It moves, never deletes, and never changes data: from a backup it brings the right bytes back; what
no backup has goes to `quarantine/<run>/…`, its block is retired, and the report says what to run.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlmodel import col

from influence_store.counted import counted
from influence_store.errors import Fenced, NotFound
from influence_store.jobs.backup import opened
from influence_store.jobs.inspect_all import inspect_all
from influence_store.jobs.inspection import record_of
from influence_store.jobs.inventory import ADVISORY, QUARANTINE, held, key
from influence_store.jobs.redo import redo
from influence_store.jobs.verify_store import DAMAGE, verify_store
from influence_store.output import plain
from influence_store.schema.catalog import Artifact, Selection
from influence_store.store.artifacts import path_of
from influence_store.store.faults import step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sqlmodel import Session

    from influence_store.jobs.inventory import Held, Owner, Vouched
    from influence_store.jobs.redo import Loss
    from influence_store.jobs.verify_store import Problem
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store


@dataclass(frozen=True)
class RepairReport:
    """What was (or with `done` False: would be) moved, what came back, and what is lost by it.

    `left` are problems that moving files cannot mend.
    """

    store: str
    done: bool
    quarantine: str
    healed: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        told = [f"brought back from the backup: {plain(path)}" for path in self.healed]
        verb = "moved to" if self.done else "would move to"
        if self.blocks or self.files:
            told.append(
                f"{verb} {self.quarantine}: {counted(len(self.blocks), 'damaged block')}, "
                f"{counted(len(self.files), 'other file')}"
            )
        told += [f"  {plain(path)}" for path in [*self.blocks, *self.files]]
        for loss in self.losses:
            told += loss.lines()
        told += [f"not mended: {one}" for one in self.left]
        if not told:
            return [f"{self.store}: nothing to repair"]
        if not self.done:
            told.append("nothing was touched; to do it: influence-store repair --quarantine")
        return told


def repair(
    store: Store, *, quarantine: bool = False, source: str | Path | None = None, deep: bool = True
) -> RepairReport:
    """Mend what `verify` finds: from the backup `source`, else by quarantine.

    Without `quarantine` it only tells what it would do.
    """
    problems = verify_store(store, deep=deep).problems
    if not quarantine:
        return _planned(store, held(store), problems, source)
    with store.claim("repair", "repair", {"backup": str(source or "")}) as run:
        healed = [] if source is None else _heal(store, problems, source)
        known = held(store)
        damaged = _still_damaged(store, known, problems)
        losses = redo(known, damaged)
        for owner in damaged:
            _quarantine(store, run, known, owner)
        files = _too_much(problems)
        _move(store, run.id, files)
        report = RepairReport(
            store=store.uri,
            done=True,
            quarantine=f"{QUARANTINE}/{run.id}",
            healed=healed,
            blocks=[_path(owner) for owner in damaged],
            files=files,
            losses=losses,
            left=_left(problems),
        )
        run.report(report.facts(), {})
    return report


def _planned(
    store: Store, known: Held, problems: Sequence[Problem], source: str | Path | None
) -> RepairReport:
    damaged = _damaged(known, problems)
    healed = []
    if source is not None:
        with opened(source) as (_, copy):
            there = {file.path: file.sha256 for file in held(copy).files.values()}
        healed = sorted(
            one.where
            for one in problems
            if one.where in known.files and there.get(one.where) == known.files[one.where].sha256
        )
        damaged = [
            owner for owner in damaged
            if not all(one.where in healed for one in problems if one.owner == key(owner))
        ]  # fmt: skip
    return RepairReport(
        store=store.uri,
        done=False,
        quarantine=QUARANTINE,
        healed=healed,
        blocks=[_path(owner) for owner in damaged],
        files=_too_much(problems),
        losses=redo(known, damaged),
        left=_left(problems),
    )


def _heal(store: Store, problems: Sequence[Problem], source: str | Path) -> list[str]:
    """Put back every damaged file whose right bytes the backup has."""
    known, healed = held(store), []
    with opened(source) as (_, copy):
        for path in sorted({one.where for one in problems if one.code in DAMAGE}):
            file = known.files.get(path)
            if file is None or (content := _right_bytes(copy, file)) is None:
                continue
            store.storage.put(path, content)
            healed.append(path)
    return healed


def _right_bytes(copy: Store, file: Vouched) -> bytes | None:
    try:
        content = copy.storage.read(file.path)
    except NotFound:
        return None
    return content if hashlib.sha256(content).hexdigest() == file.sha256 else None


def _damaged(known: Held, problems: Iterable[Problem]) -> list[Owner]:
    """Blocks and artifacts that lost bytes; a file too many damages nothing."""
    names = {one.owner for one in problems if one.code in DAMAGE}
    return [owner for name, owner in known.owners().items() if name in names]


def _still_damaged(store: Store, known: Held, problems: Sequence[Problem]) -> list[Owner]:
    """Looked at again: it may have been healed, or a bucket may only have been away."""
    files = known.files_by_owner()
    damaged = {key(owner): owner for owner in _damaged(known, problems)}
    records = [record_of(owner, files[name]) for name, owner in damaged.items()]
    looks = inspect_all(store, records, advisory=ADVISORY)
    return [damaged[record.owner] for record, found in looks if found]


def _quarantine(store: Store, run: ActiveRun, known: Held, owner: Owner) -> None:
    """Files first: killed before the block is retired, a rerun finds it damaged and goes on."""
    if isinstance(owner, Artifact):
        # Its row stays: training again writes the same bytes to the same place.
        _move(store, run.id, [path_of(owner.sha256)])
        step("quarantined")
        return
    _move(store, run.id, [file.path for file in store.storage.files(owner.path)])
    step("quarantined")

    def without_order(session: Session, _ids: list[int]) -> None:
        # A selection whose order is gone is made again by `select` only if it is not there.
        lost = col(Selection.block_id) == owner.id
        if owner.kind == "cover":
            lost = col(Selection.run_id) == owner.run_id
        session.exec(delete(Selection).where(lost))

    assert owner.id is not None
    try:
        run.publish([], without_order, retire=[owner.id])
    except Fenced:
        if any(block.id == owner.id for block in held(store).blocks):
            raise  # it was we who lost the claim; else somebody retired it before us


def _move(store: Store, run_id: str, paths: Iterable[str]) -> None:
    """Files, or every file of a folder; those that are gone are passed over."""
    for path in paths:
        below = [file.path for file in store.storage.files(path)]
        for found in below or [path]:
            if store.storage.exists(found):
                store.storage.move(found, f"{QUARANTINE}/{run_id}/{found}")


def _too_much(problems: Iterable[Problem]) -> list[str]:
    return [one.where for one in problems if one.code == "extra" or one.code == "unknown"]


def _left(problems: Iterable[Problem]) -> list[str]:
    return [
        f"{plain(one.where)}: {plain(one.found)}; {one.mend}"
        for one in problems
        if one.code == "catalog"
    ]


def _path(owner: Owner) -> str:
    return path_of(owner.sha256) if isinstance(owner, Artifact) else owner.path
