"""What is tried again, how often, and what is raised as it came; real conflicts: tests/postgres."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from influence_store.errors import Forbidden
from influence_store.store.local import LocalStorage
from influence_store.store.retry import patiently


class _Refused(Exception):
    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.sqlstate = state


class _Work:
    """Fails with `errors` in turn, then says how often it was asked."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def __call__(self) -> int:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.asked


def _conflict() -> DBAPIError:
    return DBAPIError("update", {}, _Refused("40001"))


def test_what_may_pass_is_tried_until_it_does():
    locked = OperationalError("begin", {}, sqlite3.OperationalError("database is locked"))
    away = OperationalError("select", {}, _Refused("57P01"))
    assert patiently(_Work(_conflict(), locked, away, _conflict())) == 5


@pytest.mark.parametrize(
    ("errors", "seconds", "asked"),
    [
        ([OperationalError("x", {}, sqlite3.OperationalError("disk I/O error"))], None, 1),
        ([ValueError("no business of a database")], None, 1),
        ([_conflict(), _conflict()], 0, 1),
        ([IntegrityError("insert", {}, _Refused("23505")) for _ in range(4)], None, 3),
    ],
    ids=["it will not pass", "not of the database", "no patience", "a name taken thrice"],
)
def test_what_will_not_pass_is_raised_as_it_came(errors, seconds, asked):
    work, last = _Work(*errors), errors[asked - 1]
    with pytest.raises(type(last)) as caught:
        patiently(work, seconds)
    assert caught.value is last
    assert work.asked == asked


def test_a_place_that_can_only_be_read_is_called_that(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)  # nothing can be mounted in a test
    with pytest.raises(Forbidden, match=r"(?s)Read-only file system\n  choose a place"):
        LocalStorage(tmp_path).probe()
