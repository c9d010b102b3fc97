"""Which selections are stored, and which one does the beginning of an id mean?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from influence_store.errors import NotFound, UsageError
from influence_store.schema.catalog import Selection

if TYPE_CHECKING:
    from influence_store.store.database import Database


def find_selection(database: Database, name: str) -> Selection:
    """The selection whose id begins with `name`, in any case; NotFound for none.

    UsageError where several do.
    """
    with database.read() as session:
        rows = session.exec(select(Selection)).all()
    fitting = [row for row in rows if name and row.id.startswith(name.lower())]
    if not fitting:
        hint = 'see: influence-store query "select id, dataset, objective from selections"'
        raise NotFound.named("selection", name, [row.id for row in rows], hint=hint)
    if len(fitting) > 1:
        told = ", ".join(sorted(row.id for row in fitting)[:3])
        raise UsageError(
            f"{len(fitting)} selections begin with {name!r}: {told}", hint="give more of the id"
        )
    return fitting[0]


def all_selections(database: Database) -> list[Selection]:
    """Every stored selection, newest first."""
    newest_first = select(Selection).order_by(col(Selection.created_at).desc(), col(Selection.id))
    with database.read() as session:
        return list(session.exec(newest_first).all())
