"""What children of the tests run, until they kill themselves at a named step."""

from __future__ import annotations

import os

from influence_store.execution import LOCAL
from influence_store.jobs import inspection, repair, verify_store
from influence_store.jobs.backup import backup
from influence_store.jobs.gc import gc
from influence_store.jobs.restore import restore
from influence_store.store.store import Store
from influence_store.version import __version__


def in_this_process(store, records, *, advisory="", max_mb_per_s=None, executor=LOCAL):
    """A deep look without a process of its own."""
    return ((one, inspection.inspect(store.storage, one, advisory)) for one in records)


def look_here() -> None:
    """From now on, deep looks are taken in this process."""
    for module in (repair, verify_store):
        module.inspect_all = in_this_process


def work(verb, step, place, *arguments) -> None:
    """Do one of the verbs on the store at `place` (URI, database URL)."""
    os.environ["INFLUENCE_STORE_KILL_AT"] = step
    look_here()
    uri, database = place
    if verb == "restore":
        restore(*arguments, uri, database)
        return
    store = Store.open(uri, __version__, database)
    if verb == "gc":
        gc(store, grace=0, act=True)
    elif verb == "repair":
        repair.repair(store, quarantine=True, deep=False)
    else:
        backup(store, *arguments)
