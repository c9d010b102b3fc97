"""Which dataset version does a name mean, and what does it hold?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap
from sqlmodel import Session, col, func, select

from influence_store.errors import NotFound
from influence_store.schema.catalog import Dataset, DatasetVersion, Tag

if TYPE_CHECKING:
    from influence_store.protocols import Ids
    from influence_store.store.database import Database

#: What was deleted can be brought back for at least so long; `gc` takes nothing earlier.
UNDO_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Version:
    """One dataset version: which sids it holds."""

    id: int
    dataset_id: int
    dataset: str
    number: int
    bits: BitMap

    @property
    def sids(self) -> Ids:
        """Ascending sids, (n,)."""
        return np.asarray(self.bits.to_array(), np.int64)

    def __str__(self) -> str:
        return f"{self.dataset}@{self.number}"


def resolve(database: Database, ref: str) -> Version:
    """What `name`, `name@3`, `name@tag` or `name@latest`, the newest that stands, means.

    NotFound for a version that was deleted says how long that can be undone.
    """
    name, _, which = ref.partition("@")
    with database.read() as session:
        dataset = session.exec(select(Dataset).where(Dataset.name == name)).first()
        if dataset is None or dataset.head == 0:
            known = session.exec(select(Dataset.name).where(Dataset.head > 0)).all()
            raise NotFound.named("dataset", name, known, hint="see: influence-store status")
        number = _number(session, dataset, which or "latest")
        row = session.exec(
            select(DatasetVersion).where(
                DatasetVersion.dataset_id == dataset.id, DatasetVersion.number == number
            )
        ).one()
        if row.deleted_at is not None:
            left = row.deleted_at + UNDO_SECONDS - database.now(session)
            raise NotFound(
                f"{name}@{number} was deleted; {undo_told(left)}",
                hint=f"influence-store delete --undo {name}@{number}",
            )
        return _version(row, name)


def by_id(database: Database, version_id: int) -> Version:
    """The version with this row id."""
    with database.read() as session:
        row = session.get_one(DatasetVersion, version_id)
        return _version(row, session.get_one(Dataset, row.dataset_id).name)


def standing(database: Database) -> list[Version]:
    """Every version of every dataset that was not deleted, oldest first."""
    query = (
        select(DatasetVersion, Dataset.name)
        .join(Dataset)
        .where(col(DatasetVersion.deleted_at).is_(None))
        .order_by(col(DatasetVersion.id))
    )
    with database.read() as session:
        return [_version(row, name) for row, name in session.exec(query).all()]


def names(database: Database) -> list[tuple[str, int]]:
    """(dataset, number) of the same, without what they hold: a bitmap per version is much."""
    query = (
        select(Dataset.name, DatasetVersion.number)
        .join(DatasetVersion, col(DatasetVersion.dataset_id) == col(Dataset.id))
        .where(col(DatasetVersion.deleted_at).is_(None))
        .order_by(col(DatasetVersion.id))
    )
    with database.read() as session:
        return [(name, number) for name, number in session.exec(query).all()]


@dataclass(frozen=True)
class VersionLine:
    """One version in a list: `created_at` in seconds since 1970."""

    number: int
    n_rows: int
    created_at: float
    tags: tuple[str, ...]


def history(database: Database, dataset_id: int) -> list[VersionLine]:
    """The versions of one dataset that stand, newest first, with their tags."""
    query = (
        select(DatasetVersion.number, DatasetVersion.n_rows, DatasetVersion.created_at)
        .where(DatasetVersion.dataset_id == dataset_id, col(DatasetVersion.deleted_at).is_(None))
        .order_by(col(DatasetVersion.number).desc())
    )
    with database.read() as session:
        rows = session.exec(query).all()
        tags = session.exec(select(Tag).where(Tag.dataset_id == dataset_id)).all()
    return [
        VersionLine(
            number, n_rows, at, tuple(sorted(one.name for one in tags if one.number == number))
        )
        for number, n_rows, at in rows
    ]


def heads(database: Database) -> list[Version]:
    """The newest version of every dataset that has one, oldest dataset first."""
    newest = (
        select(DatasetVersion.dataset_id, func.max(DatasetVersion.number).label("number"))
        .where(col(DatasetVersion.deleted_at).is_(None))
        .group_by(col(DatasetVersion.dataset_id))
        .subquery()
    )
    query = (
        select(DatasetVersion, Dataset.name)
        .join(Dataset)
        .join(
            newest,
            (col(DatasetVersion.dataset_id) == newest.c.dataset_id)
            & (col(DatasetVersion.number) == newest.c.number),
        )
        .order_by(col(Dataset.id))
    )
    with database.read() as session:
        return [_version(row, name) for row, name in session.exec(query).all()]


def undo_told(left: float) -> str:
    """How long something deleted can be brought back, `left` seconds from now, for people."""
    if left <= 0:
        return "it can be brought back until gc takes its files"
    hours, minutes = f"{left / 3600:.0f} h", f"{left / 60:.0f} min"
    return f"it can be brought back for {hours if left > 5400 else minutes}"


def _number(session: Session, dataset: Dataset, which: str) -> int:
    if which == "latest":
        stand = select(func.max(DatasetVersion.number)).where(
            DatasetVersion.dataset_id == dataset.id, col(DatasetVersion.deleted_at).is_(None)
        )
        newest = session.exec(stand).one()
        if newest is None:
            raise NotFound(
                f"every version of {dataset.name} was deleted",
                hint=f"bring them back: influence-store delete --undo {dataset.name}",
            )
        return int(newest)
    if which.isdecimal():
        if 1 <= int(which) <= dataset.head:
            return int(which)
        told = "only version 1" if dataset.head == 1 else f"versions 1 to {dataset.head}"
        raise NotFound(
            f"{dataset.name} has {told}, not {which}",
            hint=f"the newest: {dataset.name}; what there is: influence-store query 'show tables'",
        )
    tags = session.exec(select(Tag).where(Tag.dataset_id == dataset.id)).all()
    for tag in tags:
        if tag.name == which:
            return tag.number
    raise NotFound.named(f"tag of {dataset.name}", which, [tag.name for tag in tags])


def _version(row: DatasetVersion, name: str) -> Version:
    assert row.id is not None
    return Version(row.id, row.dataset_id, name, row.number, BitMap.deserialize(row.bits))
