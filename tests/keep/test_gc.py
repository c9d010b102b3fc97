"""gc takes what nobody reads and nothing else, whoever else is at work."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple

import pytest
from raw_path import age
from sqlmodel import select

from influence_store.errors import Busy, Fenced
from influence_store.jobs import gc as module
from influence_store.jobs.delete import delete
from influence_store.jobs.gc import gc, make_room
from influence_store.jobs.inventory import BALLAST
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Block, BlockFile, Run

DAY = 86400.0


@pytest.fixture(autouse=True)
def small_ballast(monkeypatch):
    monkeypatch.setattr(module, "BALLAST_BYTES", 1000)


def stray(scene, run_id, name="1"):
    """A table that was written and never published."""
    folder = scene.root / "blocks" / "embedding" / f"{run_id}-0000{name}.lance" / "data"
    folder.mkdir(parents=True)
    (folder / "x.lance").write_bytes(b"never published")
    return folder.relative_to(scene.root).as_posix() + "/x.lance"


def dead_run(scene, state="failed"):
    run = scene.store.claim("embed", "died", {})

    def end(session):
        row = session.get_one(Run, run.id)
        row.state, row.lease_until = state, 0.0

    scene.store.database.write(end)
    return run.id


def block_rows(scene):
    with scene.store.database.read() as session:
        return {row.id for row in session.exec(select(Block)).all()}


def test_a_whole_store_has_nothing_to_remove(scene):
    before = scene.files()
    report = gc(scene.store, grace=0, act=True)
    assert scene.files() == before
    assert report.lines() == ["nothing to remove"]


def test_a_dry_run_writes_nothing_at_all(scene):
    retired = scene.files_of("embedding")
    path = stray(scene, dead_run(scene))
    scene.retire("embedding", 2 * DAY)
    before, runs = scene.files(), len(verify_store(scene.store).lines())
    report = gc(scene.store)
    assert (report.done, report.tables_of_dead_runs.files) == (False, 1)
    assert report.retired_blocks.files == len(retired)
    assert path in scene.files() == before
    assert runs == len(verify_store(scene.store).lines())
    with scene.store.database.read() as session:
        assert session.exec(select(Run).where(Run.verb == "gc")).all() == []


@pytest.mark.parametrize("state", ["failed", "aborted", "committed", "writing"])
def test_tables_of_runs_that_ended_or_died_go(scene, state):
    path = stray(scene, dead_run(scene, state))
    report = gc(scene.store, act=True)
    assert path not in scene.files()
    assert report.runs_given_up == (state == "writing")
    assert verify_store(scene.store).leftover_files == 0


def test_tables_of_a_run_at_work_stay(scene):
    with scene.store.claim("embed", "alive", {}) as run:
        path = stray(scene, run.id)
        gc(scene.store, grace=0, act=True)
        assert path in scene.files()


def test_a_run_that_was_given_up_publishes_no_more(scene, monkeypatch):
    monkeypatch.setenv("INFLUENCE_STORE_LEASE_SECONDS", "0.01")
    asleep = scene.store.claim("embed", "asleep", {})  # no heartbeat: as if stopped
    path = stray(scene, asleep.id)
    time.sleep(0.05)
    gc(scene.store, act=True)
    assert path not in scene.files()
    with pytest.raises(Fenced, match="lost its claim"):
        asleep.publish([])


def test_retired_blocks_go_when_they_are_old_and_their_rows_with_them(scene):
    id_ = scene.retire("embedding", DAY - 60)
    files = scene.files()
    assert gc(scene.store, act=True).retired_kept == 1
    assert scene.files() == files
    report = gc(scene.store, grace=DAY - 120, act=True)
    assert (report.rows_removed, report.retired_kept) == (1, 0)
    assert {path for path in files - scene.files()} == {
        path for path in files if path.startswith("blocks/embedding/")
    }
    assert id_ not in block_rows(scene)
    with scene.store.database.read() as session:
        assert session.exec(select(BlockFile).where(BlockFile.block_id == id_)).all() == []
    assert verify_store(scene.store).problems == []


def test_retired_blocks_stay_while_a_run_that_began_before_is_at_work(scene):
    with scene.store.claim("export", "reader", {}):
        time.sleep(0.01)
        scene.retire("embedding")
        assert gc(scene.store, grace=0, act=True).retired_kept == 1
    assert gc(scene.store, grace=0, act=True).retired_kept == 0


def test_a_retired_block_that_a_selection_still_names_stays(scene):
    scene.retire("selection", 9 * DAY)
    assert gc(scene.store, act=True).retired_kept == 1
    assert any(path.startswith("blocks/selection/") for path in scene.files())


def test_objects_and_leftovers_go_by_age(scene):
    orphan = scene.store.put_artifact(b"trained, then killed", "estimator").sha256
    there = [
        scene.root / "objects" / orphan[:2] / orphan,
        scene.root / "objects" / "aa.0123.part",
        scene.root / "tmp" / "spool" / "rows.arrow",
        scene.root / scene.block("rows").path / "_versions" / ".tmp_1.manifest_0123",
        scene.root / scene.block("rows").path / "_versions" / "1.manifest#1",
    ]
    for path in there[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    gc(scene.store, grace=0, act=True)
    assert all(path.exists() for path in there)
    for path in there:
        age(path, 2 * DAY)
    report = gc(scene.store, act=True)
    assert not any(path.exists() for path in there)
    assert (report.objects.files, report.leftovers.files) == (1, 4)
    assert verify_store(scene.store, deep=False).problems == []


@pytest.mark.parametrize("published", [True, False], ids=["published", "not yet published"])
def test_an_object_that_is_brought_again_while_gc_runs_stays(scene, monkeypatch, published):
    orphan = scene.store.put_artifact(b"the same weights", "estimator")
    path = scene.root / "objects" / orphan.sha256[:2] / orphan.sha256
    age(path, 2 * DAY)
    real = module.step

    def then(name):
        real(name)
        if name == "gc-fenced" and published:
            scene.artifact(b"the same weights")
        elif name == "gc-fenced":
            scene.store.put_artifact(b"the same weights", "estimator")

    monkeypatch.setattr(module, "step", then)
    gc(scene.store, act=True)
    assert scene.store.get_artifact(orphan.sha256) == b"the same weights"


def test_what_is_published_between_listing_and_fence_stays(scene, monkeypatch):
    real, published = module.step, []

    def then(name):
        real(name)
        if name == "gc-listed":
            (scene.root / "tmp").mkdir(exist_ok=True)
            scene.ingest(range(30, 60), "other")
            published.extend(scene.files())

    monkeypatch.setattr(module, "step", then)
    gc(scene.store, grace=0, act=True)
    assert set(published) == scene.files()
    assert verify_store(scene.store).problems == []


def test_tables_of_a_run_that_the_catalog_does_not_know_stay(scene):
    path = stray(scene, "0123456789abcdef")
    orphan = scene.store.put_artifact(b"somebody's", "estimator").sha256
    age(scene.root / "objects" / orphan[:2] / orphan, 9 * DAY)
    report = gc(scene.store, grace=0, act=True)
    assert report.unknown_tables == 1
    assert path in scene.files()
    assert f"objects/{orphan[:2]}/{orphan}" in scene.files()


def test_where_rows_of_a_deleted_dataset_came_from_goes_after_the_grace(scene):
    scene.ingest(range(30, 60), "other")
    delete(scene.store, "other")
    assert gc(scene.store, act=True).blocks_freed == 0
    assert gc(scene.store, grace=0, act=True).blocks_freed == 1
    assert gc(scene.store, grace=0, act=True).rows_removed == 1
    assert verify_store(scene.store).problems == []


def test_contents_that_no_version_holds_go_only_when_asked_and_alone(scene):
    scene.ingest(range(40, 60), "other")
    delete(scene.store, "other")
    gc(scene.store, grace=0, act=True)
    assert scene.store.sample_ids().height == 60
    with scene.store.claim("embed", "alive", {}), pytest.raises(Busy, match="embed is at work"):
        gc(scene.store, grace=0, cells=True, act=True)
    gc(scene.store, grace=0, cells=True, act=True)
    assert scene.store.sample_ids().height == 40
    assert verify_store(scene.store).problems == []


def test_two_collectors_wait_for_each_other(scene):
    with scene.store.claim("gc", "gc", {}), pytest.raises(Busy, match="gc is already at work"):
        gc(scene.store, act=True)


def test_the_ballast_is_kept_and_given_up_when_the_disk_is_full(scene, monkeypatch):
    if scene.store.database.is_postgres:
        gc(scene.store, act=True)
        assert not (scene.root / BALLAST).exists()
        return
    gc(scene.store, act=True)
    ballast = scene.root / BALLAST
    assert ballast.stat().st_size == 1000
    make_room(scene.store.storage)
    assert ballast.exists()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1, 1, 999))
    make_room(scene.store.storage)
    assert not ballast.exists()
    assert gc(scene.store, act=True).done
    assert not ballast.exists()
