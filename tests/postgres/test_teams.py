"""Two teams, one database: neither sees, changes, blocks or collides with the other's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlmodel import select

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import Busy, Forbidden, NotFound, UsageError
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.log import log
from influence_store.jobs.migrate import migrate
from influence_store.jobs.status import status
from influence_store.jobs.teams import add_team, list_teams
from influence_store.query import query
from influence_store.schema import catalog
from influence_store.schema.catalog import Counter, Dataset
from influence_store.settings import Place
from influence_store.shell import Context
from influence_store.store.store import Store
from influence_store.store.teams import OWN, RIGHTS, SHARED
from influence_store.verbs.catalog import team
from influence_store.version import __version__

DENIED = "42501"


def refused(shared, role, statement) -> str:
    """PostgreSQL's code for what it refuses."""
    import psycopg

    with pytest.raises(psycopg.Error) as caught:
        shared.sql(statement, role)
    return caught.value.sqlstate


@pytest.fixture(scope="module")
def full(let_in):
    """One row of team A in every table, by hand; team B has nothing."""
    shared = let_in()
    ours, _ = shared.teams
    for statement in (
        "insert into run values ('r1', 'ingest', 'ingest:x', 'committed', 'h|b|1|1', 0, 0, 0, "
        "'{}', '{}', '{}', 't')",
        "insert into dataset (name, head, created_at) values ('secret', 1, 0)",
        "insert into counter values ('sid', 7)",
        "insert into artifact values ('f00d', 'onnx', 1, 0)",
        "insert into producer (fingerprint, kind, name, dim, higher_means, facts, created_at) "
        "values ('print', 'embedding', 'e', 4, 'neither', '{}', 0)",
        "insert into dataset_version (dataset_id, number, run_id, n_rows, digest, bits, counts, "
        "created_at) select id, 1, 'r1', 1, 'd', '', '{}', 0 from dataset",
        "insert into tag (dataset_id, name, number) select id, 'first', 1 from dataset",
        "insert into active (dataset_id, producer_id, source) "
        "select dataset.id, producer.id, 's' from dataset, producer",
        "insert into block (kind, run_id, path, lance_version, n_rows, checksum, bits, "
        "published_at, origin) values ('samples', 'r1', 'blocks/x.lance', 1, 1, 'c', '', 0, '{}')",
        "insert into block_file (block_id, path, size, sha256) select id, 'f', 1, 's' from block",
        "insert into estimator select producer.id, dataset_version.id, producer.id, 'o', "
        "producer.id, null, 'n', 'f00d', 'v', '{}', 'r1' from producer, dataset_version",
        "insert into selection select 'sel', dataset_version.id, block.id, 'o', 'k', 1, '{}', "
        "'r1', 0 from block, dataset_version",
        "insert into forgotten values ('\\x01', 'r1', 'asked', 0)",
    ):
        shared.sql(statement, ours)
    assert all(shared.sql(f"select 1 from {table}", ours) for table in OWN)
    return shared


# -- by hand, with the login of the other team ------------------------------------------------


@pytest.mark.parametrize("table", OWN)
def test_a_team_cannot_read_change_or_take_away_rows_of_another(full, table):
    ours, theirs = full.teams
    assert full.sql(f"select * from {table}", theirs) == []
    column = "state" if table == "run" else "team"
    for statement in (
        f"update {table} set {column} = {column} returning 1",
        f"delete from {table} returning 1",
    ):
        assert full.sql(statement, theirs) == []
    assert len(full.sql(f"select * from {table}", ours)) == 1


@pytest.mark.parametrize("table", OWN)
def test_a_team_cannot_write_a_row_for_another(full, table):
    ours, theirs = full.teams
    copied = f"insert into {table} select * from {table} returning 1"
    # As the administrator would see it: the very row of team A, written by team B.
    (row,) = full.sql(f"select {table}::text from {table} where team = '{ours}'")
    literal = row[0].replace("'", "''")
    forged = f"insert into {table} select ('{literal}'::{table}).*"
    assert refused(full, theirs, forged) == DENIED
    assert full.sql(copied, theirs) == []
    assert refused(full, ours, f"update {table} set team = '{theirs}'") == DENIED


@pytest.mark.parametrize("table", [*OWN, *SHARED])
def test_a_team_has_no_rights_that_row_level_security_does_not_heed(full, table):
    _, theirs = full.teams
    for statement in (
        f"truncate {table} cascade",
        f"alter table {table} disable row level security",
        f"alter table {table} no force row level security",
        f"drop table {table} cascade",
        f"create index on {table} ((1))",
    ):
        assert refused(full, theirs, statement) == DENIED, statement


@pytest.mark.parametrize("table", SHARED)
def test_what_all_teams_share_is_written_by_none(full, table):
    _, theirs = full.teams
    assert full.sql(f"select * from {table}", theirs)
    assert refused(full, theirs, f"delete from {table}") == DENIED
    assert refused(full, theirs, f"insert into {table} select * from {table}") == DENIED


@pytest.mark.parametrize("table", OWN)
def test_switching_row_level_security_off_fails(full, table):
    _, theirs = full.teams
    assert refused(full, theirs, f"set row_security = off; select * from {table}") == DENIED


def test_a_team_cannot_become_another(full):
    ours, theirs = full.teams
    for statement in (f"set role {ours}", f"set session authorization {ours}", "set role postgres"):
        assert refused(full, theirs, statement) == DENIED, statement
    assert refused(full, theirs, "create table own (x int)") == DENIED
    assert refused(full, theirs, "create view v as select 1") == DENIED


def test_a_row_cannot_hang_on_a_row_of_another_team(shared):
    ours, theirs = shared.teams
    insert = "insert into dataset (name, head, created_at) values ('x', 0, 0) returning id"
    ((dataset,),) = shared.sql(insert, ours)
    tag = f"insert into tag (dataset_id, name, number) values ({dataset}, 'n', 1)"
    assert refused(shared, theirs, tag) == "23503"  # no such key
    # Their own row may have the very number that another team's has.
    numbered = f"insert into dataset (id, name, head, created_at) values ({dataset}, 'x', 0, 0)"
    shared.sql(numbered, theirs)
    shared.sql(tag, theirs)


def test_numbers_of_one_team_cannot_be_set_by_another(full):
    _, theirs = full.teams
    assert refused(full, theirs, "select setval('block_id_seq', 1)") == DENIED


def test_a_role_that_was_not_let_in_sees_no_table(full, new_role):
    stranger = new_role()
    assert refused(full, stranger, "select * from run") == DENIED
    with pytest.raises(Forbidden, match="influence-store team add"):
        full.open(stranger)


# -- through the product ----------------------------------------------------------------------


def test_equal_names_and_contents_of_two_teams_do_not_meet(two_teams, rows_file):
    path = rows_file(range(5))
    first, second = two_teams
    ingest(first, [path], "chats", tag="gold")
    report = ingest(second, [path], "chats", tag="gold")
    assert (report.version, report.new, report.new_contents) == (1, 5, 5)
    for store in two_teams:
        assert store.version("chats@gold").sids.tolist() == list(range(5))
        with store.database.read() as session:
            assert session.exec(select(Counter.next)).all() == [5]
            assert session.exec(select(Dataset.name)).all() == ["chats"]
        assert query(store, "select count(*) n from chats").to_pylist() == [{"n": 5}]


def test_a_team_sees_none_of_the_others_datasets_cells_and_runs(two_teams, rows_file):
    first, second = two_teams
    ingest(first, [rows_file(range(5))], "chats")
    embed(first, first.version("chats"), HashingEmbedder(4), "hashing:4")
    with pytest.raises(NotFound, match="no dataset named 'chats'"):
        second.version("chats")
    assert second.producers() == second.blocks("samples") == []
    told = status(second)
    assert (told.contents, told.datasets) == (0, [])
    assert log(second, 10).runs == []
    ingest(second, [rows_file(range(3, 9))], "chats")
    mine = second.producer("embedding", "hashing-4", first.producers()[0].facts, dim=4)
    assert mine.fingerprint == first.producers()[0].fingerprint
    assert not second.covered(mine.id)


def test_one_team_at_work_does_not_hold_another_up(two_teams):
    first, second = two_teams
    with first.claim("ingest", "ingest:chats", {}):
        with pytest.raises(Busy):
            first.claim("ingest", "ingest:chats", {})
        with second.claim("ingest", "ingest:chats", {}):
            pass


def test_files_of_a_team_lie_below_its_name(shared, two_teams, rows_file):
    for store, role in zip(two_teams, shared.teams, strict=True):
        ingest(store, [rows_file(range(3))], "chats")
        store.put_artifact(b"same", "onnx")
        (path,) = [block.path for block in store.blocks("samples")]
        assert store.storage.files(path)
        assert Path(shared.uri, role, path).is_dir()
        assert store.scratch.is_relative_to(Path(shared.uri, role))
    kept = Path(shared.uri)
    assert not {"blocks", "objects"} & {path.name for path in kept.iterdir()}


def test_logins_that_share_a_role_are_one_team(shared, server, new_role, rows_file):
    ours, _ = shared.teams
    logins = new_role(), new_role()
    for login in logins:
        server.sql(f"grant {ours} to {login}")
    stores = [
        Store.open(shared.uri, __version__, f"{shared.url(login)}&options=-crole%3D{ours}")
        for login in logins
    ]
    ingest(stores[0], [rows_file(range(4))], "chats")
    vectors = HashingEmbedder(4)
    embed(stores[1], stores[1].version("chats"), vectors, "hashing:4")
    (producer,) = stores[0].producers("embedding")
    assert stores[0].vectors(producer, np.arange(4)).shape == (4, 4)
    for store in stores:
        store.database.close()
    for login in logins:
        server.sql(f"revoke {ours} from {login}")


# -- letting teams in -------------------------------------------------------------------------


def test_a_team_has_exactly_the_rights_it_needs(shared):
    ours, _ = shared.teams
    held = shared.sql(
        "select table_name, privilege_type from information_schema.role_table_grants "
        f"where grantee = '{ours}'"
    )
    own = {(table, right) for table in OWN for right in RIGHTS}
    assert set(held) == own | {(table, "SELECT") for table in SHARED}
    owners = {owner for (owner,) in shared.sql("select distinct tableowner from pg_tables "
                                               "where schemaname = 'public'")}  # fmt: skip
    assert owners.isdisjoint(shared.teams)


def test_team_add_and_list_are_verbs(shared, new_role):
    role = new_role()

    def said(*arguments):
        context = Context(Place(shared.uri))
        done = CliRunner().invoke(team, arguments, obj=context, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert f"{role} may work in" in said("add", role)
    assert f"{shared.uri}/{role}/" in said("add", role)  # again: nothing changes
    assert {role, *shared.teams} <= set(said("list").split())


@pytest.mark.parametrize(
    ("rights", "why"), [("superuser", "is a superuser"), ("bypassrls", "has BYPASSRLS")]
)
def test_a_role_beyond_row_level_security_is_not_let_in(shared, new_role, rights, why):
    role = new_role(rights)
    store = shared.open("postgres")
    with pytest.raises(Forbidden, match=why):
        add_team(store, role)
    assert role not in list_teams(store).teams


@pytest.mark.parametrize(
    ("grant", "revoke", "why"),
    [
        ("grant truncate on run to {}", "", "TRUNCATE run"),
        ("grant update on store to {}", "", "UPDATE store"),
        ("grant create on schema public to {}", "", "CREATE tables"),
        ("grant postgres to {}", "revoke postgres from {}", "owns the tables"),
    ],
)
def test_a_role_with_more_rights_is_refused_until_they_are_revoked(
    shared, new_role, grant, revoke, why
):
    role = new_role()
    shared.sql(grant.format(role))
    store = shared.open("postgres")
    with pytest.raises(Forbidden, match=why):
        add_team(store, role)
    assert not shared.sql(f"select has_table_privilege('{role}', 'block', 'SELECT')")[0][0] or (
        why == "owns the tables"
    )
    if revoke:
        shared.sql(revoke.format(role))


def test_a_role_that_does_not_exist_or_cannot_name_a_folder_is_refused(shared):
    store = shared.open("postgres")
    with pytest.raises(NotFound, match='create role "nobody" login'):
        add_team(store, "nobody")
    for name in ("../etc", "a/b", "Team", "", "x" * 64):
        with pytest.raises(UsageError, match="cannot be a team"):
            add_team(store, name)


def test_only_who_owns_the_store_lets_teams_in(two_teams, new_role):
    with pytest.raises(Forbidden, match="does not own the tables"):
        add_team(two_teams[0], new_role())


def test_a_store_on_sqlite_has_no_teams(tmp_path):
    store, _ = Store.init(tmp_path / "own", __version__)
    with pytest.raises(UsageError, match="SQLite has no teams"):
        add_team(store, "team")
    assert list_teams(store).teams == []
    store.database.close()


def test_a_login_that_would_mix_teams_is_warned(shared, two_teams, rows_file, caplog):
    shared.open("postgres").database.close()
    assert shared.teams[0] not in caplog.text  # it has no rows yet
    ingest(two_teams[0], [rows_file(range(2))], "chats")
    caplog.clear()
    shared.open("postgres").database.close()
    (told,) = caplog.messages
    assert "this login is a superuser" in told
    assert shared.teams[0] in told
    caplog.clear()
    shared.open(shared.teams[1]).database.close()
    assert caplog.messages == []


def test_who_owns_the_tables_without_being_superuser_counts_all_runs_and_sees_no_rows(
    server, new_role, tmp_path
):
    owner, role = new_role(), new_role()
    server.sql(f"create database d_{owner} owner {owner}")
    url = server.url(f"d_{owner}", owner)
    made, _ = Store.init(tmp_path / "store", __version__, url)
    add_team(made, role)
    theirs = Store.open(tmp_path / "store", __version__, server.url(f"d_{owner}", role))
    with theirs.claim("ingest", "ingest:x", {}):
        assert log(made, 10).runs == []
        with made.database.engine.begin() as connection:
            connection.execute(text("update alembic_version set version_num = '0002'"))
        # A process here would be seen; elsewhere only its lease tells.
        with pytest.raises(Busy, match="ingest is at work"):
            migrate(tmp_path / "store")
        with made.database.engine.begin() as connection:
            forced = text("select relforcerowsecurity from pg_class where relname = 'run'")
            assert connection.execute(forced).scalar_one()
            connection.execute(
                text("update alembic_version set version_num = :now"), {"now": catalog.REVISION}
            )
    made.database.close()
    theirs.database.close()
