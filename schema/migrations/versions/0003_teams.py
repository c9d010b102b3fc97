"""on PostgreSQL every row belongs to the role (the team) that wrote it

Every key, unique or foreign, gets the team as its last column. Without it a team could learn from
a refused insert what another team has (keys do not heed row-level security), take its numbers, or
hang its own rows on the other's. SQLite has no roles, so nothing is done there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SHARED = {"store", "alembic_version"}


class _Keys(NamedTuple):
    """The constraints of one table, as PostgreSQL tells them."""

    table: str
    primary: Any
    unique: Any
    foreign: Any
    indexes: Any


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    inspector = sa.inspect(op.get_bind())
    tables = [name for name in inspector.get_table_names() if name not in _SHARED]
    every = [
        _Keys(
            table,
            inspector.get_pk_constraint(table),
            inspector.get_unique_constraints(table),
            inspector.get_foreign_keys(table),
            [index for index in inspector.get_indexes(table) if _is_alone(index)],
        )
        for table in tables
    ]
    for keys in every:
        for key in keys.foreign:
            op.drop_constraint(key["name"], keys.table, type_="foreignkey")
    for keys in every:
        _own(keys)
    for keys in every:
        for key in keys.foreign:
            op.create_foreign_key(
                key["name"],
                keys.table,
                key["referred_table"],
                _per_team(key["constrained_columns"]),
                _per_team(key["referred_columns"]),
            )
    for table in tables:
        _guard(table)


def _own(keys: _Keys) -> None:
    """Rows that are there already become those of the role that migrates."""
    team = sa.Column("team", sa.Text(), nullable=False, server_default=sa.text("current_user"))
    op.add_column(keys.table, team)
    op.drop_constraint(keys.primary["name"], keys.table, type_="primary")
    op.create_primary_key(
        keys.primary["name"], keys.table, _per_team(keys.primary["constrained_columns"])
    )
    for key in keys.unique:
        op.drop_constraint(key["name"], keys.table, type_="unique")
        op.create_unique_constraint(key["name"], keys.table, _per_team(key["column_names"]))
    for index in keys.indexes:
        where = index.get("dialect_options", {}).get("postgresql_where")
        op.drop_index(index["name"], keys.table)
        op.create_index(
            index["name"],
            keys.table,
            _per_team(index["column_names"]),
            unique=True,
            postgresql_where=sa.text(where) if where else None,
        )


def _guard(table: str) -> None:
    """Also for the role that owns the table."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(
        f"create policy own_rows on {table} "
        "using (team = current_user) with check (team = current_user)"
    )


def _per_team(columns: list[str]) -> list[str]:
    return [*columns, "team"]


def _is_alone(index: Any) -> bool:
    """Is it a unique index by itself, not the one behind a constraint?"""
    return bool(index["unique"]) and "duplicates_constraint" not in index
