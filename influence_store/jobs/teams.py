"""`team`: let a role of the PostgreSQL server work in this store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.errors import UsageError
from influence_store.store import teams

if TYPE_CHECKING:
    from influence_store.store.store import Store


@dataclass(frozen=True)
class TeamReport:
    """A role that was let in: `rights` are the tables by right, `folder` is where its files go."""

    store: str
    team: str
    folder: str
    rights: dict[str, list[str]]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.team} may work in {self.store} and sees its own rows only",
            f"  its files go below {self.folder}: let it write there and nowhere else",
            f"  it opens the store with options=-crole%3D{self.team} in the database's address, "
            "or by logging in as this role",
        ]


@dataclass(frozen=True)
class TeamsReport:
    """The roles that were let in."""

    store: str
    teams: list[str]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        return self.teams or ["no teams yet; let one in: influence-store team add ROLE"]


def add_team(store: Store, role: str, *, plan_only: bool = False) -> TeamReport:
    """See `store.teams.add`. UsageError on SQLite, which has no roles.

    With `plan_only` all is checked and given, and taken back before anybody sees it.
    """
    if not store.database.is_postgres:
        raise UsageError(
            "a catalog in SQLite has no teams: whoever can read the folder reads all of it",
            hint="make a store with init --database postgresql+psycopg://USER@HOST/NAME",
        )
    team = teams.add(store.database, role, keep=not plan_only)
    return TeamReport(store.uri, team.role, f"{store.uri}/{team.role}/", team.rights)


def list_teams(store: Store) -> TeamsReport:
    """By name; none on SQLite."""
    return TeamsReport(store.uri, teams.members(store.database))
