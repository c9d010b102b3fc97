"""Which failures of a database pass by themselves, and what do the others mean to a person?"""

from __future__ import annotations

from contextlib import contextmanager
from random import uniform
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, OperationalError

from influence_store.errors import Forbidden, InputError, IntegrityError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: How long a transaction is tried again before the database counts as away.
PATIENCE_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 2.0

_CONFLICTS = {"40001", "40P01"}  # serialization failure, deadlock
_DUPLICATE = "23505"
_DENIED = "42501"
_TOO_LARGE = "54"  # of a name that does not fit into an index
#: Stopped, crashed, starting up, idle for too long inside a transaction, out of connections.
_AWAY = {"57P01", "57P02", "57P03", "25P03", "53300"}


def patiently(work: Callable[[], T], seconds: float | None = None) -> T:
    """The value of `work`, tried again with random pauses while its failure may pass.

    What failed when `seconds` were over is raised as it came; an attempt is never cut short.
    """
    start, attempt = monotonic(), 0
    while True:
        attempt += 1
        try:
            return work()
        except DBAPIError as error:
            over = monotonic() - start >= (PATIENCE_SECONDS if seconds is None else seconds)
            if over or not _may_pass(error, attempt):
                raise
        # Random, and longer each time: those that got in each other's way must not meet again.
        sleep(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 16))))


@contextmanager
def told() -> Iterator[None]:
    """Errors of the database as ours: Unreachable, Forbidden, InputError, IntegrityError."""
    try:
        yield
    except OperationalError as error:
        if (_state(error) or "").startswith(_TOO_LARGE):
            raise InputError(f"the catalog cannot hold this: {_first_line(error)}") from error
        if "readonly database" in str(error.orig):  # SQLite, of the file, its folder or the disk
            raise Forbidden(
                f"the catalog cannot be written: {_first_line(error)}",
                hint="this store can only be read here: query, sample, top, explain, export",
            ) from error
        raise Unreachable(
            f"the catalog does not answer, or takes no writes: {_first_line(error)}",
            hint="is the disk full, the server away, or another program holding the file? "
            "see: influence-store doctor",
        ) from error
    except DataError as error:
        raise InputError(f"the catalog cannot hold this: {_first_line(error)}") from error
    except DatabaseError as error:
        if _is_damaged(error):
            raise IntegrityError(
                f"the catalog cannot be read: {_first_line(error)}", hint="restore it from a backup"
            ) from error
        if _state(error) != _DENIED:
            raise
        raise Forbidden(
            f"the catalog refused this: {_first_line(error)}",
            hint="who owns the store can let a role in: influence-store team add ROLE",
        ) from error


def _may_pass(error: DBAPIError, attempts: int) -> bool:
    """Conflicts with others, and a server that is about to come back, after so many `attempts`."""
    if not hasattr(error.orig, "sqlstate"):  # SQLite
        return "database is locked" in str(error.orig)
    state = _state(error)
    if state == _DUPLICATE:
        # Of two who looked and then inserted, one may be told so instead of being serialised; the
        # second look decides.
        return attempts < 3
    lost = isinstance(error, OperationalError) and (state is None or state.startswith("08"))
    return lost or state in _CONFLICTS | _AWAY


def _state(error: DBAPIError) -> str | None:
    """PostgreSQL's code; None where the connection was lost or never made."""
    return getattr(error.orig, "sqlstate", None)


def _is_damaged(error: DBAPIError) -> bool:
    """What SQLite says of a file that is no database, or is one no more."""
    said = str(error.orig)
    return "file is not a database" in said or "disk image is malformed" in said


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).splitlines()[0]
