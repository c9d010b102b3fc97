"""`delete`: versions and selections that nobody shall see any more; it can be undone for a while.

A deleted version keeps its number for good and stays in the catalog with the time of its deletion.
A deleted selection leaves it; the run that deleted it holds its row, and its blocks are retired.

What that frees, once it cannot be undone any more, `gc` takes: the blocks of deleted selections,
and where a dataset got its contents from (`rows`, with the raw records) when none of its versions
stands. Contents, and what was computed of them, are facts that the next dataset may bring again:
they stay, unless `gc --cells` is asked to take those that no version holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlmodel import Session, col, select

from influence_store.errors import NotFound, UsageError
from influence_store.schema.catalog import (
    Block,
    Dataset,
    DatasetVersion,
    Estimator,
    Producer,
    Run,
    Selection,
    Tag,
)
from influence_store.store.versions import UNDO_SECONDS, undo_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from influence_store.store.store import Store

#: Blocks that hold facts about contents; `--cells` frees those of contents that no version holds.
_FACTS = (
    *("samples", "embedding", "llm-state", "points", "vectors", "pairs", "estimate", "tokens"),
    *("minhash", "duplicates", "leaks", "trial"),
)


@dataclass(frozen=True)
class DeleteReport:
    """`deleted` names versions or a selection; `left` is what stood on them and now lacks them."""

    deleted: tuple[str, ...]
    left: tuple[str, ...]
    undone: bool

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {"deleted": list(self.deleted), "left": list(self.left), "undone": self.undone}

    def lines(self) -> list[str]:
        """For people."""
        names = ", ".join(self.deleted)
        if self.undone:
            return [f"{names}: back again"]
        told = [f"deleted {names}"]
        told += [f"  stood on it, and was left: {one}" for one in self.left]
        again = self.deleted[0] if len(self.deleted) == 1 else self.deleted[0].partition("@")[0]
        told.append(f"  {undo_told(UNDO_SECONDS)}: influence-store delete --undo {again}")
        return told


def delete(store: Store, name: str, *, force: bool = False) -> DeleteReport:
    """Delete a version (`D@3`), all versions of a dataset (`D`) or a selection (its id).

    UsageError while something stands on it, unless `force`; NotFound if there is no such thing;
    Busy while another run adds a version to the dataset.
    """
    if "@" in name or _dataset_id(store, name) is not None:
        return _delete_versions(store, name, force)
    return _delete_selection(store, name, force)


def undo(store: Store, name: str) -> DeleteReport:
    """Bring back what was deleted by that name; NotFound if it was not, or its bytes are gone."""
    dataset, _, which = name.partition("@")
    if which or _dataset_id(store, dataset) is not None:
        return _restore_versions(store, dataset, which)
    return _restore_selection(store, name)


def unneeded(session: Session, now: float, grace: float, *, cells: bool = False) -> list[int]:
    """Ids of live blocks that nothing stands on which was not deleted more than `grace` ago.

    With `cells` also blocks none of whose contents is in such a version; they may be retired only
    while no other run is at work (`alone.refuse_others`), in this same transaction.
    """
    versions = session.exec(select(DatasetVersion)).all()
    held = [one for one in versions if one.deleted_at is None or now - one.deleted_at <= grace]
    live = select(Block).where(col(Block.retired_at).is_(None)).order_by(col(Block.id))
    ended = {one.dataset_id for one in versions} - {one.dataset_id for one in held}
    freed = session.exec(
        live.where(Block.kind == "rows", col(Block.dataset_id).in_(sorted(ended)))
    ).all()
    found = [block.id for block in freed]
    if cells:
        needed = BitMap.union(BitMap(), *[BitMap.deserialize(one.bits) for one in held])
        facts = session.exec(live.where(col(Block.kind).in_(_FACTS))).all()
        found += [one.id for one in facts if not BitMap.deserialize(one.bits) & needed]
    return [id_ for id_ in found if id_ is not None]


# -- versions ------------------------------------------------------------------------------------


def _delete_versions(store: Store, name: str, force: bool) -> DeleteReport:
    version = store.version(name)
    whole = "@" not in name
    told: list[DeleteReport] = []

    def more(session: Session, _ids: list[int]) -> None:
        stand = select(DatasetVersion).where(
            DatasetVersion.dataset_id == version.dataset_id,
            col(DatasetVersion.deleted_at).is_(None),
        )
        if not whole:
            stand = stand.where(DatasetVersion.number == version.number)
        rows = session.exec(stand.order_by(col(DatasetVersion.number))).all()
        names = tuple(f"{version.dataset}@{row.number}" for row in rows)
        left = _standing_on_versions(session, rows, names)
        _refuse(name, left, force)
        for row in rows:
            row.deleted_at = store.database.now(session)
            session.add(row)
        told[:] = [DeleteReport(names, left, undone=False)]

    # The scope of `ingest`: what is deleted cannot be what the next version is being built on.
    with store.claim("delete", f"ingest:{version.dataset}", {"dataset": name}) as run:
        run.publish([], more)
        run.report(told[0].facts(), {})
    return told[0]


def _standing_on_versions(
    session: Session, rows: Sequence[DatasetVersion], names: Sequence[str]
) -> tuple[str, ...]:
    ids, numbers = {row.id for row in rows}, {row.number for row in rows}
    dataset_id = rows[0].dataset_id if rows else -1
    tags = session.exec(select(Tag).where(Tag.dataset_id == dataset_id)).all()
    trained = session.exec(
        select(Estimator, Producer).join(Producer, col(Producer.id) == col(Estimator.producer_id))
    ).all()
    return (
        *(f"tag {tag.name} of @{tag.number}" for tag in tags if tag.number in numbers),
        *(
            f"selection {one.id} ({one.objective}, {one.n_items:,} samples)"
            for one in session.exec(select(Selection)).all()
            if one.dataset_version_id in ids or _named_in(one.facts, names)
        ),
        *(
            f"estimator {made.name} ({made.fingerprint[:12]}), trained on it"
            for one, made in trained
            if one.dataset_version_id in ids
        ),
    )


def _named_in(facts: dict[str, Any], names: Iterable[str]) -> bool:
    """Whether a selection serves or continues one of these versions."""
    inputs = facts.get("inputs", {})
    given = inputs.get("given")
    aims = [*(inputs.get("targets") or []), *([given] if isinstance(given, dict) else [])]
    return bool({aim["dataset"] for aim in aims} & set(names))


def _restore_versions(store: Store, dataset: str, which: str) -> DeleteReport:
    dataset_id = _dataset_id(store, dataset)
    if dataset_id is None or (which and not which.isdecimal()):
        raise NotFound(
            f"there is no deleted version {dataset}@{which or '…'}",
            hint="see what was deleted: influence-store log --verb delete",
        )
    told: list[DeleteReport] = []

    def more(session: Session, _ids: list[int]) -> None:
        gone = select(DatasetVersion).where(
            DatasetVersion.dataset_id == dataset_id, col(DatasetVersion.deleted_at).is_not(None)
        )
        if which:
            gone = gone.where(DatasetVersion.number == int(which))
        rows = session.exec(gone.order_by(col(DatasetVersion.number))).all()
        if not rows:
            raise NotFound(
                f"nothing of {dataset}{'@' + which if which else ''} is deleted",
                hint="see: influence-store status",
            )
        for row in rows:
            _refuse_taken(session, row, dataset)
            row.deleted_at = None
            session.add(row)
        names = tuple(f"{dataset}@{row.number}" for row in rows)
        told[:] = [DeleteReport(names, (), undone=True)]

    with store.claim("delete", f"ingest:{dataset}", {"dataset": dataset, "undo": True}) as run:
        run.publish([], more)
        run.report(told[0].facts(), {})
    return told[0]


def _refuse_taken(session: Session, row: DatasetVersion, dataset: str) -> None:
    """NotFound unless all contents of a deleted version, and where it got them, are there."""
    for kind, of_dataset in (("samples", None), ("rows", row.dataset_id)):
        if lacking := len(BitMap.deserialize(row.bits) - _held(session, kind, of_dataset)):
            raise NotFound(
                f"{dataset}@{row.number} cannot be brought back: gc has taken {lacking:,} of its "
                f"{row.n_rows:,} {kind}",
                hint="ingest its files again",
            )


def _held(session: Session, kind: str, dataset_id: int | None) -> BitMap:
    """The contents that live blocks of a kind speak for."""
    live = select(Block.bits).where(
        Block.kind == kind, col(Block.retired_at).is_(None), Block.dataset_id == dataset_id
    )
    found = session.exec(live).all()
    return BitMap.union(BitMap(), *[BitMap.deserialize(one) for one in found])


# -- selections ----------------------------------------------------------------------------------


def _delete_selection(store: Store, name: str, force: bool) -> DeleteReport:
    with store.database.read() as session:
        known = session.exec(select(Selection.id)).all()
        datasets = session.exec(select(Dataset.name).where(Dataset.head > 0)).all()
    fitting = [one for one in known if name and one.startswith(name)]
    if len(fitting) != 1:
        raise NotFound.named("selection or dataset", name, [*known, *datasets])
    (identity,) = fitting
    told: list[DeleteReport] = []

    with store.claim("delete", f"select:{identity}", {"selection": identity}) as run:
        with store.database.read() as session:
            blocks = _blocks_of(session, session.get_one(Selection, identity), retired=False)

        def more(session: Session, _ids: list[int]) -> None:
            row = session.get_one(Selection, identity)
            left = tuple(
                f"selection {one.id}, which started from it"
                for one in session.exec(select(Selection).where(Selection.id != identity)).all()
                if (start := one.facts.get("inputs", {}).get("start"))
                and identity.startswith(start)
            )
            _refuse(name, left, force)
            told[:] = [DeleteReport((identity,), left, undone=False)]
            # The row itself goes with the run, so that nothing that reads selections can see it.
            mine = session.get_one(Run, run.id)
            mine.result = {**told[0].facts(), "selection": row.model_dump(), "blocks": blocks}
            session.add(mine)
            session.delete(row)

        run.publish([], more, retire=blocks)
        with store.database.read() as session:
            run.report(session.get_one(Run, run.id).result, {})
    return told[0]


def _blocks_of(session: Session, row: Selection, *, retired: bool) -> list[int]:
    """Its items, and who covers whom by it."""
    cover = select(Block.id).where(Block.kind == "cover", Block.run_id == row.run_id)
    ids = {row.block_id, *session.exec(cover).all()}
    rows = (session.get(Block, id_) for id_ in sorted(one for one in ids if one is not None))
    return [one.id for one in rows if one and one.id and (one.retired_at is not None) == retired]


def _restore_selection(store: Store, name: str) -> DeleteReport:
    with store.database.read() as session:
        past = select(Run).where(Run.verb == "delete").order_by(col(Run.started_at).desc())
        deleted = [one.result for one in session.exec(past).all() if "selection" in one.result]
    fitting = [one for one in deleted if name and one["selection"]["id"].startswith(name)]
    if not fitting:
        known = [one["selection"]["id"] for one in deleted]
        raise NotFound.named("deleted dataset or selection", name, known)
    row = Selection(**fitting[0]["selection"])
    report = DeleteReport((row.id,), (), undone=True)

    def more(session: Session, _ids: list[int]) -> None:
        if session.get(Selection, row.id) is not None:
            raise UsageError(f"selection {row.id} stands", hint="there is nothing to undo")
        blocks = [session.get(Block, id_) for id_ in fitting[0]["blocks"]]
        for block in blocks:
            if block is None or block.retired_at is None:
                raise NotFound(
                    f"selection {row.id} cannot be brought back: gc has taken its items",
                    hint="run the same `select` again; it gives the same id and picks",
                )
            if lost := len(BitMap.deserialize(block.bits) - _held(session, "samples", None)):
                raise NotFound(
                    f"selection {row.id} cannot be brought back: {lost:,} of its samples are gone",
                    hint="run the same `select` again, on the samples that are left",
                )
            block.retired_at = None
            session.add(block)
        session.flush()
        session.add(Selection(**fitting[0]["selection"]))

    with store.claim("delete", f"select:{row.id}", {"selection": row.id, "undo": True}) as run:
        run.publish([], more)
        run.report(report.facts(), {})
    return report


# -- both ----------------------------------------------------------------------------------------


def _refuse(name: str, left: Sequence[str], force: bool) -> None:
    if left and not force:
        more = f"\n  and {len(left) - 8} more" if len(left) > 8 else ""
        shown = "\n  ".join(left[:8]) + more
        raise UsageError(
            f"{name} is needed by:\n  {shown}",
            hint=f"to delete it, and leave them: influence-store delete {name} --force",
        )


def _dataset_id(store: Store, name: str) -> int | None:
    with store.database.read() as session:
        return session.exec(select(Dataset.id).where(Dataset.name == name)).first()
