"""A store with three versions, made once and copied for each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Killed children are forks of the warm parent that the reliability suite keeps.
sys.path.append(str(Path(__file__).parents[1] / "reliability"))

from many_versions import History

from influence_store.store.store import Store
from influence_store.version import __version__


@pytest.fixture
def history(store, tmp_path):
    """An empty one."""
    (tmp_path / "inputs").mkdir()
    return History(store, tmp_path / "inputs")


@pytest.fixture(scope="session")
def three_versions(backend, tmp_path_factory):
    """A closed store whose dataset `demo` has versions of 10, 12 and 14 rows, embedded."""
    folder = tmp_path_factory.mktemp("three")
    (folder / "inputs").mkdir()
    uri, database = backend.new(folder / "store")
    made, _ = Store.init(uri, __version__, database)
    for stop in (10, 12, 14):
        History(made, folder / "inputs").add(range(stop))
    made.database.close()
    return uri


@pytest.fixture
def opened_copy(copy_store, tmp_path):
    """Opens copies of a store, closed when the test ends."""
    opened = []

    def copied(uri):
        folder = tmp_path / f"copy-{len(opened)}"
        (folder / "inputs").mkdir(parents=True)
        opened.append(Store.open(copy_store(uri, folder / "store"), __version__))
        return History(opened[-1], folder / "inputs")

    yield copied
    for store in opened:
        store.database.close()


@pytest.fixture
def three(three_versions, opened_copy):
    """A copy of it, opened."""
    return opened_copy(three_versions)
