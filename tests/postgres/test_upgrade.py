"""A store of every released schema: migrated on both databases, and all of it readable after."""

from __future__ import annotations

import json
import shutil
import tarfile
import uuid
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import MetaData, create_engine, func, select, text

from influence_store.errors import Busy, Incompatible
from influence_store.jobs.log import log
from influence_store.jobs.migrate import migrate
from influence_store.jobs.status import status
from influence_store.query import query
from influence_store.schema.catalog import REVISION, Block, Estimator, Run, Selection
from influence_store.settings import Place
from influence_store.shell import Context
from influence_store.store.database import Database
from influence_store.store.store import Store
from influence_store.verbs.catalog import migrate as verb
from influence_store.version import __version__

FIXTURES = Path(__file__).parents[1] / "store" / "fixtures"
RELEASED = ["0001"]


@pytest.fixture(params=RELEASED)
def old(request, tmp_path) -> Path:
    """A store as that version left it: two versions, labels, an estimator, a selection."""
    with tarfile.open(FIXTURES / f"store-{request.param}.tar.xz") as packed:
        packed.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def everything_is_readable(store):
    assert store.versions()[-1].number == 2
    assert len(store.version("demo@first").bits) == 12
    (embedder,) = store.producers("embedding")
    vectors = store.vectors(embedder, store.version("demo").sids)
    assert vectors.shape == (14, 4)
    assert np.isfinite(vectors).all()
    told = status(store)
    assert (told.contents, told.estimators, told.selections) == (14, 1, 1)
    assert {run["verb"] for run in log(store, 100).runs} == {
        "ingest", "embed", "import", "train", "fill", "drift", "select",
    }  # fmt: skip
    with store.database.read() as session:
        assert session.exec(select(func.count()).select_from(Block)).scalar_one() == 11
        assert session.exec(select(Estimator)).one()[0].network == "mean"
        assert session.exec(select(Selection)).one()[0].n_items == 3
    filled = "select count(*) as n, count(est_guess) as filled from demo"
    assert query(store, filled).to_pylist() == [{"n": 14, "filled": 14}]
    picks = query(store, "select rank from selection_items order by rank").to_pylist()
    assert [pick["rank"] for pick in picks] == [1, 2, 3]


def test_an_old_store_is_refused_with_the_command_that_mends_it(old):
    with pytest.raises(Incompatible, match=r"(?s)has schema 0001.*influence-store migrate"):
        Store.open(old, __version__)


def test_migrate_brings_an_old_store_on_sqlite_to_this_schema(old):
    told = migrate(old)
    assert (told.before, told.after, told.marked) == ("0001", REVISION, True)
    store = Store.open(old, __version__)
    everything_is_readable(store)
    store.database.close()


def test_migrate_again_changes_nothing(old):
    said = CliRunner().invoke(verb, [], obj=Context(Place(str(old))), catch_exceptions=False)
    assert f"schema 0001 → {REVISION}" in said.stdout
    again = migrate(old)
    assert (again.before, again.after, again.marked) == (REVISION, REVISION, False)


def test_migrate_waits_for_nobody_and_refuses_while_a_run_is_alive(old):
    catalog = Database(f"sqlite:///{old}/catalog.sqlite")
    with catalog.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            text(
                "update run set state = 'writing', lease_until = 9e9, "
                "owner = 'elsewhere|boot|1|1' where verb = 'import'"
            )
        )
    with pytest.raises(Busy, match="import is at work: elsewhere, pid 1"):
        migrate(old)
    assert catalog.revision() == "0001"
    with catalog.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("update run set lease_until = 0 where verb = 'import'"))
    assert migrate(old).after == REVISION
    catalog.close()


def test_a_catalog_of_the_future_is_left_alone(old):
    migrate(old)
    catalog = Database(f"sqlite:///{old}/catalog.sqlite")
    with catalog.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    catalog.close()
    with pytest.raises(Incompatible, match="upgrade influence-store"):
        migrate(old)


@pytest.fixture
def old_on_postgres(old, empty_database):
    """The same rows in a PostgreSQL of the same schema."""
    source = create_engine(f"sqlite:///{old}/catalog.sqlite")
    catalog = Database(empty_database)
    with source.connect() as reading:
        revision = reading.execute(text("select version_num from alembic_version")).scalar_one()
        catalog.upgrade(revision)
        tables = MetaData()
        tables.reflect(catalog.engine)
        with catalog.engine.begin() as writing:
            for table in tables.sorted_tables:
                rows = [dict(row) for row in reading.execute(select(table)).mappings()]
                if table.name != "alembic_version" and rows:
                    writing.execute(table.insert(), rows)
    source.dispose()
    catalog.close()
    return old, empty_database


def test_the_same_rows_migrate_on_postgresql(old_on_postgres, tmp_path):
    old, url = old_on_postgres
    store, _ = Store.init(tmp_path / "new", __version__, url)
    # Where a store with its catalog in PostgreSQL keeps the blocks of this role.
    for name in ("blocks", "objects"):
        shutil.copytree(old / name, tmp_path / "new" / "postgres" / name)
    assert store.database.revision() == REVISION
    everything_is_readable(store)
    store.database.close()


def test_a_live_run_of_any_team_stops_a_migration_on_postgresql(old_on_postgres, tmp_path):
    _, url = old_on_postgres
    store, _ = Store.init(tmp_path / "new", __version__, url)
    store.database.close()
    catalog = Database(url)
    with catalog.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0002'"))
        connection.execute(
            text(
                "update run set state = 'writing', lease_until = 9e9, team = 'others', "
                "owner = 'elsewhere|boot|1|1' where verb = 'drift'"
            )
        )
    catalog.close()
    with pytest.raises(Busy, match="drift is at work"):
        migrate(tmp_path / "new")


def test_a_migration_gives_the_teams_their_rights_on_new_tables(old_on_postgres, server, tmp_path):
    _, url = old_on_postgres
    team = f"early_{uuid.uuid4().hex[:8]}"
    server.sql(f"create role {team} login")
    catalog = Database(url)
    with catalog.engine.begin() as connection:
        connection.execute(text(f"grant insert on run to {team}"))
    catalog.upgrade("0002")
    root = tmp_path / "new"
    root.mkdir()
    root.joinpath("store.json").write_text(
        json.dumps({"store": catalog.store_id(), "database": url})
    )
    catalog.close()
    told = migrate(root)
    assert (told.before, told.after, told.teams) == ("0002", REVISION, [team])
    theirs = Store.open(root, __version__, url.replace("postgres@", f"{team}@"))
    assert status(theirs).contents == 0
    theirs.database.close()


def test_models_see_the_rows_of_schema_0001(old):
    """`migrate` asks for live runs before it migrates: these columns may never change."""
    with create_engine(f"sqlite:///{old}/catalog.sqlite").connect() as connection:
        columns = connection.execute(text("select * from run")).keys()
    assert {"verb", "owner", "state", "lease_until"} <= set(columns) & set(Run.model_fields)
