"""`kill -9` at every step of gc, repair, backup and restore: nothing is lost, a rerun finishes."""

from __future__ import annotations

import signal

import dying
import pytest
from reliability import children

from influence_store.errors import NotFound
from influence_store.jobs.backup import backup
from influence_store.jobs.gc import gc
from influence_store.jobs.repair import repair
from influence_store.jobs.restore import restore
from influence_store.jobs.verify_store import verify_store
from influence_store.store.faults import BACKUP_STEPS, GC_STEPS, REPAIR_STEPS, RESTORE_STEPS
from influence_store.store.store import Store
from influence_store.version import __version__

children.preload("reliability.warm", "dying")


def killed(verb, step, place, *arguments):
    """In a process of its own, which kills itself at `step`."""
    assert children.run(dying.work, verb, step, place, *arguments) == -signal.SIGKILL


def values(store):
    (producer,) = store.producers("embedding")
    return store.vectors(producer, store.version("demo").sids).tolist()


@pytest.mark.parametrize("step", [*GC_STEPS, "gc-deleted:2", "gc-deleted:3"])
def test_a_killed_gc_loses_nothing_and_the_next_takes_the_rest(scene, place, step):
    retired = scene.files_of("selection")
    scene.retire("selection")
    scene.select()
    before, wanted = values(scene.store), scene.files() - retired
    killed("gc", step, place)
    assert verify_store(scene.store).problems == []
    assert values(scene.store) == before
    gc(scene.store, grace=0, act=True)
    assert scene.files() == wanted
    report = verify_store(scene.store)
    assert (report.problems, report.leftover_files) == ([], 0)


@pytest.mark.parametrize("step", REPAIR_STEPS)
def test_a_killed_repair_is_finished_by_the_next(scene, place, step):
    scene.data_file("embedding").write_bytes(b"cut")
    killed("repair", step, place)
    assert {one.code for one in verify_store(scene.store).problems} == {"missing"}
    assert len(repair(scene.store, quarantine=True, deep=False).blocks) == 1
    assert verify_store(scene.store).problems == []
    moved = (scene.root / "quarantine").rglob("data/*.lance")
    assert [path.read_bytes() for path in moved] == [b"cut"]


@pytest.mark.parametrize("step", BACKUP_STEPS)
def test_a_killed_backup_leaves_the_earlier_one_whole(scene, place, tmp_path, elsewhere, step):
    earlier = backup(scene.store, tmp_path / "backup").copied.files
    scene.ingest(range(40, 50))
    killed("backup", step, place, tmp_path / "backup")
    report = restore(tmp_path / "backup", *elsewhere("new"))
    assert report.verified.problems == []
    restored = Store.open(report.store, __version__)
    assert restored.version("demo").number == (2 if step == "backup-sealed" else 1)
    restored.database.close()
    again = backup(scene.store, tmp_path / "backup")
    assert again.copied.kept_files >= earlier
    assert len(list((tmp_path / "backup" / "catalogs").iterdir())) == 1


def test_a_first_backup_that_was_killed_is_none(scene, place, tmp_path, elsewhere):
    killed("backup", "backup-copied", place, tmp_path / "backup")
    with pytest.raises(NotFound, match="there is no backup at"):
        restore(tmp_path / "backup", *elsewhere("new"))
    assert backup(scene.store, tmp_path / "backup").copied.files == 0


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_a_killed_restore_shows_nothing_by_halves_and_is_run_again(
    scene, tmp_path, elsewhere, step
):
    backup(scene.store, tmp_path / "backup")
    new = elsewhere("new")
    killed("restore", step, new, tmp_path / "backup")
    left = Store.open(new[0], __version__, new[1])
    whole = step == "restore-catalog"
    assert [str(one) for one in left.versions()] == (["demo@1"] if whole else [])
    left.database.close()
    if whole:
        return
    report = restore(tmp_path / "backup", *new)
    assert report.verified.problems == []
    assert report.copied.kept_files == (len(scene.files()) if step == "restore-copied" else 0)


@pytest.fixture
def place(scene):
    """URI and database of the scene's store, for another process."""
    return scene.store.uri, scene.store.database.url
