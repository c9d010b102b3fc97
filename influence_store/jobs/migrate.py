"""`migrate`: bring the catalog of an older program to the schema that this one knows.

All migrations are one transaction, and nobody writes meanwhile. Blocks stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from influence_store.errors import Busy
from influence_store.schema.catalog import REVISION
from influence_store.store import owner, teams
from influence_store.store.database import clock
from influence_store.store.location import find, mark

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection


@dataclass(frozen=True)
class MigrateReport:
    """The schema before and after; `marked` if the store had no store.json until now.

    `teams` are the roles that were given their rights on new tables.
    """

    store: str
    before: str
    after: str
    marked: bool
    teams: list[str]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        if self.before == self.after:
            return [f"{self.store} has schema {self.after} already; nothing was changed"]
        told = [f"{self.store}: schema {self.before} → {self.after}"]
        if self.teams:
            told.append(f"  teams keep their access: {', '.join(self.teams)}")
        return told


def migrate(
    uri: str | Path, database: str | None = None, *, plan_only: bool = False
) -> MigrateReport:
    """Migrate the store at `uri`; a no-op where the schema is this program's.

    Busy while any run is alive, Incompatible if the catalog is newer than this program. With
    `plan_only` it is only said from where to where.
    """
    location = find(uri, database, any_revision=True)
    catalog = location.database
    try:
        before = catalog.revision()
        if before is None or before > REVISION:
            catalog.check_revision()
        if plan_only:
            return MigrateReport(location.uri, str(before), REVISION, False, teams.members(catalog))
        admitted: list[str] = []
        if before != REVISION:
            admitted = teams.members(catalog)
            catalog.upgrade("head", _refuse_while_at_work)
            for role in admitted:
                teams.add(catalog, role)
        marked = mark(location.uri, catalog)
    finally:
        catalog.close()
    find(uri, database).database.close()  # it opens, or says why not
    return MigrateReport(location.uri, str(before), REVISION, marked, admitted)


def _refuse_while_at_work(connection: Connection) -> None:
    """Nobody can claim meanwhile, so nobody is at work until the end of this transaction."""
    live = text("select verb, owner from run where state = 'writing' and lease_until > :now")
    with teams.rows_of_all(connection, "run"):
        runs = connection.execute(live, {"now": clock(connection)}).all()
    for verb, holder in runs:
        if not owner.is_dead(holder):
            raise Busy(
                f"{verb} is at work: {owner.describe(holder)}; a store migrates between runs",
                hint="wait for it, or stop it, and run this command again",
            )
