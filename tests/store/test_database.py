from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import SQLModel

from influence_store.errors import Incompatible, NotFound, UsageError
from influence_store.schema import catalog
from influence_store.store.store import Store
from influence_store.version import __version__


@pytest.fixture
def sqlite(tmp_path):
    """A store with its catalog beside the blocks, whatever backend the suite runs on."""
    made, _ = Store.init(tmp_path / "sqlite", __version__)
    yield made
    made.database.close()


def test_migrations_lead_to_exactly_the_models(sqlite):
    # PostgreSQL is compared with SQLite in tests/postgres.
    with sqlite.database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == catalog.REVISION
        assert compare_metadata(context, SQLModel.metadata) == []


def test_a_store_of_another_schema_is_refused(store):
    with store.database.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0099'"))
    with pytest.raises(Incompatible, match="has schema 0099, this program knows"):
        Store.open(store.uri, __version__)


def test_sqlite_is_durable_and_lets_readers_through(sqlite):
    with sqlite.database.engine.connect() as connection:
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
        assert connection.execute(text("pragma synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("pragma foreign_keys")).scalar() == 1


def test_init_again_is_a_no_op(store):
    again, fresh = Store.init(store.uri, __version__)
    again.database.close()
    assert not fresh


def test_init_does_not_take_over_a_foreign_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="is not empty and not a store"):
        Store.init(tmp_path, __version__)


def test_open_says_how_to_make_a_store(tmp_path):
    with pytest.raises(NotFound, match=r"(?s)no store at .*influence-store --store .* init"):
        Store.open(tmp_path / "nowhere", __version__)
