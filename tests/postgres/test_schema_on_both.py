"""Migrations lead to one schema: PostgreSQL has what SQLite has, and a team in every key."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect, text

from influence_store.store.database import Database
from influence_store.store.teams import OWN, SHARED


@pytest.fixture(scope="module")
def both(tmp_path_factory, server):
    folder = tmp_path_factory.mktemp("both")
    found = Database(f"sqlite:///{folder}/catalog.sqlite"), Database(server.create("fresh"))
    for database in found:
        database.migrate()
    yield found
    for database in found:
        database.close()


def schema(database):
    """Columns and keys of every table, without the teams, in words that both databases share."""
    inspector = inspect(database.engine)
    return {table: _table(inspector, table) for table in inspector.get_table_names()}


def _table(inspector, table):
    columns = inspector.get_columns(table)
    return {
        "columns": {
            column["name"]: (_kind(column["type"]), column["nullable"])
            for column in columns
            if column["name"] != "team"
        },
        "primary": _bare(inspector.get_pk_constraint(table)["constrained_columns"]),
        "unique": sorted(
            _bare(key["column_names"]) for key in inspector.get_unique_constraints(table)
        ),
        "foreign": sorted(
            (
                _bare(key["constrained_columns"]),
                key["referred_table"],
                _bare(key["referred_columns"]),
            )
            for key in inspector.get_foreign_keys(table)
        ),
        "indexes": sorted(
            (index["name"], _bare(index["column_names"]), bool(index["unique"]))
            for index in inspector.get_indexes(table)
            if "duplicates_constraint" not in index
        ),
    }


def _kind(found):
    """SQLite calls every number of 64 bits a float."""
    return found.as_generic().__visit_name__.replace("double", "float")


def _bare(columns):
    return [column for column in columns if column != "team"]


def test_both_databases_get_the_same_schema(both):
    sqlite, postgres = map(schema, both)
    assert sqlite.keys() == postgres.keys()
    for table in sqlite:
        assert postgres[table] == sqlite[table], table


def test_every_table_of_teams_is_guarded_and_its_keys_name_the_team(both):
    _, postgres = both
    inspector = inspect(postgres.engine)
    assert {*OWN, *SHARED} == set(inspector.get_table_names())
    for table in OWN:
        keys = [
            inspector.get_pk_constraint(table)["constrained_columns"],
            *(key["column_names"] for key in inspector.get_unique_constraints(table)),
            *(key["constrained_columns"] for key in inspector.get_foreign_keys(table)),
            *(index["column_names"] for index in inspector.get_indexes(table) if index["unique"]),
        ]
        assert all(key[-1] == "team" for key in keys), table
    guarded = text(
        "select relname from pg_class join pg_policy on polrelid = pg_class.oid "
        "where relrowsecurity and relforcerowsecurity and polcmd = '*' and polpermissive "
        "and pg_get_expr(polqual, polrelid) = '(team = CURRENT_USER)' "
        "and pg_get_expr(polwithcheck, polrelid) = '(team = CURRENT_USER)'"
    )
    with postgres.engine.connect() as connection:
        assert sorted(connection.execute(guarded).scalars()) == sorted(OWN)


def test_the_one_live_run_per_scope_is_one_per_team(both):
    _, postgres = both
    (index,) = [
        one
        for one in inspect(postgres.engine).get_indexes("run")
        if one["name"] == "one_writer_per_scope"
    ]
    assert index["column_names"] == ["scope", "team"]
    assert "state" in index["dialect_options"]["postgresql_where"]


def test_a_session_that_sleeps_inside_a_transaction_is_ended_by_the_server(both):
    _, postgres = both
    with postgres.engine.connect() as connection:
        limit = connection.execute(text("show idle_in_transaction_session_timeout")).scalar_one()
    assert limit == "1min"
