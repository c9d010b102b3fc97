"""`tag`: a lasting name for one version of a dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, select

from influence_store.errors import NotFound, UsageError
from influence_store.schema.catalog import Tag

if TYPE_CHECKING:
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = "latest"


@dataclass(frozen=True)
class TagReport:
    """`version` is what the name stands for now, `before` what it stood for; None = nothing."""

    dataset: str
    name: str
    version: int | None
    before: int | None

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        called = f"{self.dataset}@{self.name}"
        if self.version is None:
            return [f"{called} is no name any more; it was {self.dataset}@{self.before}"]
        was = f" (it was {self.dataset}@{self.before})" if self.before else ""
        if self.before == self.version:
            was = " already"
        return [f"{called} is {self.dataset}@{self.version}{was}"]


def tag(store: Store, version: Version, name: str, *, move: bool = False) -> TagReport:
    """Call `version` `name`; UsageError if another version of the dataset has it, unless `move`."""
    check_tag_name(name)
    before = _number(store, version.dataset_id, name)
    if before is not None and before != version.number and not move:
        raise UsageError(
            f"{version.dataset}@{name} is {version.dataset}@{before} already",
            hint=f"to let it name another version: influence-store tag {version} {name} --move",
        )
    return _changed(store, version.dataset_id, version.dataset, name, version.number)


def remove_tag(store: Store, dataset: str, name: str) -> TagReport:
    """Take a name away; NotFound tells the names that the dataset has."""
    version = store.version(dataset)
    if _number(store, version.dataset_id, name) is None:
        with store.database.read() as session:
            tags = session.exec(select(Tag.name).where(Tag.dataset_id == version.dataset_id))
            raise NotFound.named(f"tag of {version.dataset}", name, tags.all())
    return _changed(store, version.dataset_id, version.dataset, name, None)


def check_tag_name(name: str) -> None:
    """UsageError unless `name` can be told from a version number and typed in a shell."""
    if name == _RESERVED:
        raise UsageError("`latest` always names the newest version", hint="choose another name")
    if name.isdecimal():
        raise UsageError(f"{name!r} would be a version number", hint=f"choose a name: v{name}")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a tag",
            hint="letters, digits, . _ - (at most 64, the first a letter or digit)",
        )


def _number(store: Store, dataset_id: int, name: str) -> int | None:
    with store.database.read() as session:
        same = select(Tag.number).where(Tag.dataset_id == dataset_id, Tag.name == name)
        return session.exec(same).first()


def _changed(
    store: Store, dataset_id: int, dataset: str, name: str, number: int | None
) -> TagReport:
    before: list[int | None] = []

    def more(session: Session, _ids: list[int]) -> None:
        same = select(Tag).where(Tag.dataset_id == dataset_id, Tag.name == name)
        row = session.exec(same).first()
        before[:] = [row.number if row else None]
        if number is None:
            if row is not None:
                session.delete(row)
            return
        row = row or Tag(dataset_id=dataset_id, name=name, number=number)
        row.number = number
        session.add(row)

    params = {"dataset": dataset, "name": name, "number": number}
    with store.claim("tag", f"tag:{dataset}", params) as run:
        run.publish([], more)
        report = TagReport(dataset, name, number, before[0])
        run.report(report.facts(), {})
    return report
