"""doctor tells whose rows a login works with, who else may, and whom nothing holds back."""

from __future__ import annotations

import uuid

import pytest

from influence_store.jobs.doctor import doctor
from influence_store.store.database import Database
from influence_store.store.store import Store
from influence_store.store.teams import add
from influence_store.version import __version__


@pytest.fixture
def ask(server, tmp_path):
    """A store of its own, whose database no other test has given rights on."""
    name, folder = f"d{uuid.uuid4().hex}", str(tmp_path / "store")
    server.copy(server.empty_catalog(), name)
    Store.init(folder, __version__, server.url(name))[0].database.close()

    def about(what, login="postgres", options=""):
        report = doctor(folder, server.url(name, login) + options)
        return [(one.level, one.found) for one in report.findings if one.about == what]

    about.database = name
    yield about
    server.sql(f"drop database {name} with (force)")


@pytest.fixture
def team(server, ask, new_role):
    """Lets a new team in."""

    def let_in() -> str:
        role = new_role()
        database = Database(server.url(ask.database))
        add(database, role)
        database.close()
        return role

    return let_in


def test_without_teams_there_is_nothing_to_mix(ask):
    assert ask("team") == [("OK", "this login works as postgres; no team was let in yet")]
    assert ask("teams") == []
    assert ask("logins") == [("OK", "seeing the rows of every team: postgres is a superuser")]


def test_the_keeper_is_told_every_team_with_its_logins(ask, team, server, new_role):
    ours, theirs, ann = team(), team(), new_role()
    server.sql(f"grant {ours} to {ann}; alter role {theirs} nologin")
    told = f"let in, with their logins: {ours} ({', '.join(sorted([ours, ann]))}), "
    assert ask("teams") == [("OK", f"{told}{theirs} (no login)")]
    ((level, found),) = ask("team")
    assert (level, found) == ("WARN", "postgres is a superuser: it mixes the rows of all teams")
    assert ask("logins") == [("OK", "seeing the rows of every team: postgres is a superuser")]


def test_a_team_is_told_that_it_is_one_and_nothing_of_others(ask, team):
    ours, _ = team(), team()
    assert ask("team", ours) == [("OK", f"this login works as {ours}")]
    assert ask("teams", ours) == [("OK", f"let in, with their logins: {ours} ({ours})")]


def test_a_member_that_works_apart_is_told_how_to_work_in_the_team(ask, team, server, new_role):
    ours, ann = team(), new_role()
    server.sql(f"grant {ours} to {ann}")
    apart = f"{ann} is a member of {ours}, but works apart, with rows of its own"
    assert ask("team", ann) == [("WARN", apart)]
    within = ask("team", ann, f"&options=-crole%3D{ours}")
    assert within == [("OK", f"this login works as {ours}")]


@pytest.mark.parametrize(
    ("rights", "grant", "why"),
    [
        ("bypassrls", "grant select on all tables in schema public to {}", "has BYPASSRLS"),
        ("", "grant select on run to {}", "has rights on the tables, but is in no team"),
    ],
)
def test_a_login_that_is_bound_to_no_team_is_told(ask, team, server, new_role, rights, grant, why):
    team()
    role = new_role(rights)
    server.sql(grant.format(role), ask.database)
    ((level, found),) = ask("logins")
    assert level == "WARN"
    assert found == f"not held back by row-level security: postgres is a superuser, {role} {why}"


def test_rights_for_everybody_are_told(ask, team, server, new_role):
    ours, stranger = team(), new_role()
    server.sql("grant select, insert on run to public", ask.database)
    ((level, found),) = ask("logins")
    assert (level, f"{stranger} has rights on the tables" in found) == ("WARN", True)
    assert f"{ours} " not in found


def test_who_owns_the_tables_is_no_team(server, new_role, tmp_path):
    owner = new_role()
    server.sql(f"create database d_{owner} owner {owner}")
    url = server.url(f"d_{owner}", owner)
    made, _ = Store.init(tmp_path / "store", __version__, url)
    add(made.database, new_role())
    made.database.close()
    levels = {
        one.about: (one.level, one.found)
        for one in doctor(str(tmp_path / "store"), url).findings
        if one.about in ("team", "logins")
    }
    assert levels["team"] == ("OK", f"{owner} owns the tables: it lets teams in, and is none")
    assert levels["logins"][0] == "OK"
    assert f"{owner} owns the tables" in levels["logins"][1]
