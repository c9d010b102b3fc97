"""`kill -9` before a statement of `migrate`: old schema or new one, and a rerun finishes."""

from __future__ import annotations

import shutil
import signal
import tarfile
from pathlib import Path

import children
import pytest
from migrating import contents, migrate_until

from influence_store.errors import Incompatible
from influence_store.jobs.migrate import migrate
from influence_store.jobs.verify_store import verify_store
from influence_store.store.store import Store
from influence_store.version import __version__

FIXTURE = Path(__file__).parents[1] / "store" / "fixtures" / "store-0001.tar.xz"
KILLS = 12


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A store on SQLite as the first program left it."""
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(FIXTURE) as packed:
        packed.extractall(folder / "old", filter="data")
    return folder / "old"


def test_a_killed_migration_leaves_one_schema_whole_and_a_rerun_finishes(old, tmp_path):
    whole = shutil.copytree(old, tmp_path / "whole")
    told = tmp_path / "statements"
    assert children.run(migrate_until, str(whole), 0, told) == 0
    n_statements = int(told.read_text())
    before, after = contents(old), contents(whole)
    found = set()
    for k in range(KILLS):
        at = 1 + k * (n_statements - 1) // (KILLS - 1)
        left = shutil.copytree(old, tmp_path / f"killed-{at}")

        assert children.run(migrate_until, str(left), at, told) == -signal.SIGKILL

        seen = contents(left)
        assert seen in (before, after)
        found.add(seen == after)
        if seen == before:
            with pytest.raises(Incompatible, match="influence-store migrate"):
                Store.open(left, __version__)
        migrate(left)
        assert contents(left) == after
        store = Store.open(left, __version__)
        assert verify_store(store).problems == []
        store.database.close()
    assert found == {False, True}
