"""A real PostgreSQL, whatever backend the rest of the suite runs on: stores, roles, a restart."""

from __future__ import annotations

import itertools
import logging
import uuid
from dataclasses import dataclass

import pytest
from backend import PostgresServer

from influence_store.store.database import Database
from influence_store.store.store import Store
from influence_store.store.teams import add
from influence_store.version import __version__


@pytest.fixture(scope="session")
def server(postgres_server):
    """The server that all share."""
    return postgres_server


@pytest.fixture
def empty_database(server):
    """The URL of a database without tables."""
    return server.create(f"e{uuid.uuid4().hex}")


@dataclass(frozen=True)
class Shared:
    """One store with two teams in it; `open` logs in as one of them."""

    uri: str
    database: str
    server: PostgresServer
    teams: tuple[str, str]

    def url(self, role: str) -> str:
        return self.server.url(self.database, role)

    def open(self, role: str) -> Store:
        return Store.open(self.uri, __version__, self.url(role))

    def sql(self, statement: str, role: str = "postgres"):
        return self.server.sql(statement, self.database, role)


@pytest.fixture(scope="session")
def house(server, tmp_path_factory):
    """One store for all tests here, made by the administrator: URI and name of its database."""
    name = "house"
    server.copy(server.empty_catalog(), name)
    folder = tmp_path_factory.mktemp("house") / "store"
    Store.init(folder, __version__, server.url(name))[0].database.close()
    return str(folder), name


@pytest.fixture(scope="session")
def new_role(server):
    """Makes a role of the server that nobody used before."""

    def make(rights: str = "") -> str:
        role = f"team_{next(_numbers)}"
        server.sql(f"create role {role} login {rights}")
        return role

    return make


_numbers = itertools.count()


@pytest.fixture(scope="session")
def let_in(server, house, new_role):
    """The store with two teams more, who find nothing in it."""

    def two() -> Shared:
        teams = new_role(), new_role()
        database = Database(server.url(house[1]))
        for role in teams:
            add(database, role)
        database.close()
        return Shared(*house, server, teams)

    return two


@pytest.fixture
def shared(let_in) -> Shared:
    """The store with two teams of this test."""
    return let_in()


@pytest.fixture
def two_teams(shared, caplog):
    """The store as each team sees it."""
    caplog.set_level(logging.WARNING)
    opened = [shared.open(role) for role in shared.teams]
    yield opened
    for store in opened:
        store.database.close()


@pytest.fixture
def rows_file(tmp_path):
    """Writes one sample per number, as JSON lines; the path."""

    def write(numbers) -> str:
        path = tmp_path / "rows.jsonl"
        lines = (f'{{"instruction": "ask {k}", "output": "{k}"}}\n' for k in numbers)
        path.write_text("".join(lines))
        return str(path)

    return write
