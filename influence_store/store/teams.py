"""Who may use a shared catalog? A team is a role of PostgreSQL; every row belongs to one.

Row-level security (migration 0003) shows a role its own rows only, whatever SQL it sends. That
holds for roles that have no more rights than `add` gives them.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlmodel import SQLModel

from influence_store.errors import Forbidden, NotFound, UsageError
from influence_store.schema import catalog
from influence_store.store.retry import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from influence_store.store.database import Database

_log = logging.getLogger(__name__)

#: The same for every team, written by nobody but the migrations.
SHARED = (catalog.StoreRow.__tablename__, "alembic_version")
OWN = tuple(table.name for table in SQLModel.metadata.sorted_tables if table.name not in SHARED)
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: TRUNCATE and foreign keys do not heed row-level security, a trigger sees every row.
_FORBIDDEN = ("TRUNCATE", "REFERENCES", "TRIGGER")
#: Whom row-level security never holds back.
SUPERUSER, OWNER, _BYPASSES = "is a superuser", "owns the tables", "has BYPASSRLS"
_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Team:
    """A role that was let in, and the tables it holds each right on."""

    role: str
    rights: dict[str, list[str]]


@dataclass(frozen=True)
class Logins:
    """Who can log in and reach the tables, as far as this login is told.

    `role` is who this login works as; `teams` are the logins that work in each team, or may become
    it; `unbound` says of a login why row-level security does not hold it back.
    """

    role: str
    teams: dict[str, list[str]]
    unbound: dict[str, str]


def check_role(role: str) -> str:
    """Return `role` if it may name a team: it becomes the name of a folder."""
    if not _ROLE.fullmatch(role):
        raise UsageError(
            f"the database role {role!r} cannot be a team",
            hint="use 1-63 of a-z 0-9 _ -, starting with a letter or digit",
        )
    return role


def add(database: Database, role: str, *, keep: bool = True) -> Team:
    """Give an existing role what a team needs and no more; a no-op where it has it.

    Forbidden if the role holds rights that row-level security does not bind, or if this login does
    not own the tables; then nothing is given, as without `keep`.
    """
    check_role(role)
    with told(), database.engine.connect() as connection:
        _refuse_unbound(connection, role)
        _grant(connection, role)
        rights = _rights(connection, role)
        _refuse_lack(connection, rights)
        _refuse_excess(connection, role, rights)
        if keep:
            connection.commit()
    return Team(role, {right: rights[right] for right in RIGHTS})


def members(database: Database) -> list[str]:
    """The roles that were let in, by name; none on SQLite."""
    if not database.is_postgres:
        return []
    sql = (
        "select distinct grantee from information_schema.role_table_grants join pg_tables "
        "on schemaname = table_schema and tablename = table_name where tablename = 'run' "
        "and schemaname = current_schema and privilege_type = 'INSERT' "
        "and grantee not in (tableowner, 'PUBLIC') order by grantee"
    )
    with told(), database.engine.connect() as connection:
        return list(connection.execute(text(sql)).scalars())


def logins(database: Database) -> Logins | None:
    """Of every login role of the server; None on SQLite."""
    if not database.is_postgres:
        return None
    let_in = members(database)
    with told(), database.engine.connect() as connection:
        words = {"superuser": SUPERUSER, "bypasses": _BYPASSES, "owner": OWNER}
        rows = connection.execute(text(_LOGINS), {"teams": let_in, **words}).all()
        role = _one(connection, "current_user")
    found = Logins(role, {team: [] for team in let_in}, {})
    for login, mine, reaches, why in rows:
        for team in mine if why is None else ():
            found.teams[team].append(login)
        if reaches and (why is not None or not mine):
            found.unbound[login] = why or "has rights on the tables, but is in no team"
    return found


_LOGINS = """
select rolname,
    array(select team from unnest(cast(:teams as text[])) team
          where pg_has_role(pg_roles.oid, team, 'MEMBER') order by team),
    has_table_privilege(pg_roles.oid, 'run', 'SELECT')
        or has_table_privilege(pg_roles.oid, 'run', 'INSERT'),
    case when rolsuper then :superuser when rolbypassrls then :bypasses
         when pg_has_role(pg_roles.oid, tableowner, 'MEMBER') then :owner end
from pg_roles, pg_tables
where rolcanlogin and schemaname = current_schema and tablename = 'run' order by rolname
"""


def unbound(database: Database) -> str | None:
    """What frees this login from row-level security; None if nothing does, or on SQLite."""
    if not database.is_postgres:
        return None
    with told(), database.engine.connect() as connection:
        return _bypass(connection, _one(connection, "current_user"))


def warn_if_unbound(database: Database) -> None:
    """Say so when this login sees the rows of other teams, and would mix them with its own."""
    if (why := unbound(database)) is None:
        return
    with told(), database.engine.connect() as connection:
        sql = "select distinct team from run where team <> current_user order by team"
        others = list(connection.execute(text(sql)).scalars())
    if others:
        _log.warning(
            "this login %s: it sees the rows of %s too, and mixes them with its own; "
            "log in as a team, or add ?options=-crole%%3DTEAM to the address of the database",
            why,
            ", ".join(others),
        )


@contextmanager
def rows_of_all(connection: Connection, table: str) -> Iterator[None]:
    """Let who owns `table` see the rows of every team, while nobody else can use it at all.

    Only inside a transaction, which holds the table's lock until its end; on SQLite rows have no
    owner.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.execute(text(f"alter table {table} no force row level security"))
    yield
    connection.execute(text(f"alter table {table} force row level security"))


def _grant(connection: Connection, role: str) -> None:
    sequences = connection.execute(
        text("select sequencename from pg_sequences where schemaname = current_schema")
    ).scalars()

    def named(*names: str) -> str:
        return ", ".join(map(connection.dialect.identifier_preparer.quote, names))

    for right, what in (
        ("connect", f"database {named(_one(connection, 'current_database()'))}"),
        ("usage", f"schema {named(_one(connection, 'current_schema'))}"),
        ("select", named(*SHARED)),
        (", ".join(RIGHTS), named(*OWN)),
        ("usage", f"sequence {named(*sequences)}"),
    ):
        connection.execute(text(f"grant {right} on {what} to {named(role)}"))


def _refuse_unbound(connection: Connection, role: str) -> None:
    known = text("select 1 from pg_roles where rolname = :role")
    if connection.execute(known, {"role": role}).first() is None:
        raise NotFound(
            f"the database has no role {role!r}", hint=f'run there: create role "{role}" login'
        )
    owns = text(
        "select pg_has_role(:role, tableowner, 'MEMBER') from pg_tables "
        "where schemaname = current_schema and tablename = 'run'"
    )
    why = _bypass(connection, role)
    if why is None and connection.execute(owns, {"role": role}).scalar_one():
        why = OWNER
    if why is not None:
        raise Forbidden(
            f"{role} {why}: row-level security would not hold it back",
            hint="choose a role without such rights",
        )


def _refuse_lack(connection: Connection, rights: dict[str, list[str]]) -> None:
    """PostgreSQL only warns when somebody grants what is not his to grant."""
    if any(set(rights[right]) < set(OWN) for right in RIGHTS):
        raise Forbidden(
            f"{_one(connection, 'current_user')} does not own the tables and can let nobody in",
            hint="log in as the role that made the store",
        )


def _refuse_excess(connection: Connection, role: str, rights: dict[str, list[str]]) -> None:
    """Rights may also come from PUBLIC, or from a role that this one is a member of."""
    creates = text("select has_schema_privilege(:role, current_schema, 'CREATE')")
    excess = [
        *(f"{right} {table}" for right in _FORBIDDEN for table in rights[right]),
        *(f"{right} {table}" for right in RIGHTS[1:] for table in rights[right] if table in SHARED),
        *(["CREATE tables"] if connection.execute(creates, {"role": role}).scalar_one() else []),
    ]
    if excess:
        raise Forbidden(
            f"{role} has more rights than a team may have: {', '.join(excess[:5])}",
            hint="revoke them, also from PUBLIC, and run this again",
        )


def _rights(connection: Connection, role: str) -> dict[str, list[str]]:
    """The tables that a role holds each right on, wherever it has it from."""
    sql = text(
        "select name from unnest(cast(:names as text[])) name "
        "where has_table_privilege(:role, name, :of)"
    )
    names = [*OWN, *SHARED]
    return {
        right: list(connection.execute(sql, {"names": names, "role": role, "of": right}).scalars())
        for right in (*RIGHTS, *_FORBIDDEN)
    }


def _bypass(connection: Connection, role: str) -> str | None:
    """What lets a role past every policy, in words that follow its name."""
    sql = text("select rolsuper, rolbypassrls from pg_roles where rolname = :role")
    superuser, bypasses = connection.execute(sql, {"role": role}).one()
    if superuser:
        return SUPERUSER
    return _BYPASSES if bypasses else None


def _one(connection: Connection, expression: str) -> str:
    return str(connection.execute(text(f"select {expression}")).scalar_one())
