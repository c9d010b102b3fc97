"""Looking changes nothing, neither rows nor bytes; and many may look at once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from influence_store.errors import Forbidden
from influence_store.schema.catalog import Run
from influence_store.store.store import Store


def catalog(store):
    """Every row of every table."""
    seen = MetaData()
    seen.reflect(store.database.engine)
    with store.database.engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(table.select()).all()))
            for name, table in seen.tables.items()
        }


def files(store):
    return {
        one.path: hashlib.sha256(store.storage.read(one.path)).hexdigest()
        for one in store.storage.walk()
        if not one.path.startswith("catalog.sqlite")
    }


def test_no_page_changes_a_row_or_a_byte(served, pages, known, small):
    other = Store.open(small, "test")
    before = catalog(other), files(other)
    assert before[0]["run"]
    assert before[1]
    more = [f"/selections/{one}" for one in known.selections.values()]
    more += [f"{one}/explain/{known.outside}" for one in more]
    for address in [*pages.values(), *more, "/datasets/demo/samples?text=e&sort=inf_ifd"]:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
            served.ask(address, "texts", method=method)
    assert (catalog(other), files(other)) == before
    other.database.close()


def test_a_store_that_refuses_writes_writes_nothing(store):
    run = Run(id="x", verb="x", scope="x", state="x", owner="", lease_until=0, started_at=0,
              tool_version="")  # fmt: skip
    with pytest.raises(Forbidden, match="only read"):
        store.database.write(lambda session: session.add(run))
    with pytest.raises(Forbidden), store.claim("label", "scope", {}):
        pass


def test_nor_does_its_database_for_who_goes_round_it(store, needs_sqlite):
    with store.database.engine.connect() as connection, pytest.raises(DBAPIError, match="readonly"):
        connection.execute(text("delete from run"))
    with Session(store.database.engine) as session:
        assert session.exec(select(Run)).all()


def test_eight_at_once_see_what_one_sees(served, pages):
    asked = [one for route, one in pages.items() if not route.startswith("/{")] * 3
    alone = {address: served.ask(address, "texts") for address in set(asked)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda address: served.ask(address, "texts"), asked))
    for address, answer in zip(asked, answers, strict=True):
        assert answer.status == alone[address].status
        assert answer.text == alone[address].text
