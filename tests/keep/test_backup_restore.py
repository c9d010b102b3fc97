"""A backup is whole whatever happens beside it, and becomes the same store elsewhere."""

from __future__ import annotations

import json
import threading

import pytest
from harm import flip
from raw_path import sizes
from s3_server import BUCKET, environment, s3_server
from sqlmodel import select

from influence_store.errors import IntegrityError, NotFound, UsageError
from influence_store.jobs.backup import backup
from influence_store.jobs.doctor import doctor
from influence_store.jobs.gc import gc
from influence_store.jobs.repair import repair
from influence_store.jobs.restore import restore
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Run
from influence_store.store.store import Store
from influence_store.version import __version__


def seen(store):
    """Everything that was put in: versions, texts, origins, order, vectors."""
    sids = store.version("demo").sids
    (producer,) = store.producers("embedding")
    columns = {"samples": ["sid", "sample_id", "prompt"], "rows": ["sid", "file", "line", "raw"]}
    columns["selection"] = ["rank", "sid", "gain"]
    rows = {
        kind: [batch.to_pylist() for batch in store.scan(store.blocks(kind), names)]
        for kind, names in columns.items()
    }
    versions = [(str(one), one.bits) for one in store.versions()]
    return {**rows, "versions": versions, "vectors": store.vectors(producer, sids).tolist()}


@pytest.fixture
def opened():
    """Opens stores, and closes them at the end."""
    stores = []

    def open_(report, database=None):
        stores.append(Store.open(report.store, __version__, database))
        return stores[-1]

    yield open_
    for store in stores:
        store.database.close()


def test_a_restored_store_is_the_same_and_goes_on_by_itself(scene, tmp_path, opened, elsewhere):
    report = backup(scene.store, tmp_path / "backup")
    assert report.copied.files == len(scene.files())
    restored = restore(tmp_path / "backup", *elsewhere("new"))
    assert restored.verified.deep
    assert restored.verified.problems == []
    store = opened(restored)
    assert seen(store) == seen(scene.store)
    assert store.database.store_id() != scene.store.database.store_id()
    with store.database.read() as session:
        assert session.exec(select(Run.verb).where(Run.state == "writing")).all() == []
    other = type(scene)(store, scene.inputs)
    assert other.ingest(range(30, 70)).version == 2
    assert other.embed().computed == 30
    assert verify_store(store).problems == []
    assert store.reserve_sids(1) == 70


def test_a_second_backup_copies_only_what_is_new_and_drops_what_is_gone(scene, tmp_path):
    first = backup(scene.store, tmp_path / "backup")
    again = backup(scene.store, tmp_path / "backup")
    assert (again.copied.files, again.copied.kept_files) == (0, first.copied.files)
    scene.ingest(range(40, 50))
    new = scene.files_of("samples") | scene.files_of("rows")
    gone = scene.files_of("embedding")
    scene.retire("embedding", 9e9)
    gc(scene.store, act=True)
    third = backup(scene.store, tmp_path / "backup")
    assert third.copied.kept_files == first.copied.files - len(gone)
    assert third.copied.files == len(new)
    assert third.removed_files == len(gone) + 1  # and the earlier catalog
    there = {path.relative_to(tmp_path / "backup").as_posix() for path in _files(tmp_path)}
    assert {one for one in there if one.startswith(("blocks", "objects"))} == scene.files()


def test_bit_rot_in_a_backup_is_healed_by_the_next(scene, tmp_path):
    backup(scene.store, tmp_path / "backup")
    copy = tmp_path / "backup" / scene.data_file("samples").relative_to(scene.root)
    right = copy.read_bytes()
    flip(copy)
    assert backup(scene.store, tmp_path / "backup").copied.files == 1
    assert copy.read_bytes() == right


def test_a_damaged_store_does_not_spoil_its_backup(scene, tmp_path, elsewhere):
    backup(scene.store, tmp_path / "backup")
    flip(scene.data_file("rows"))
    # The right bytes are in the backup already: nothing is lost by going on.
    assert backup(scene.store, tmp_path / "backup").copied.files == 0
    scene.ingest(range(40, 50))
    flip(scene.data_file("samples"))
    sealed = (tmp_path / "backup" / "backup.json").read_bytes()
    with pytest.raises(IntegrityError, match="missing or damaged, nothing was sealed"):
        backup(scene.store, tmp_path / "backup")
    assert (tmp_path / "backup" / "backup.json").read_bytes() == sealed
    assert restore(tmp_path / "backup", *elsewhere("new")).verified.problems == []


def test_backups_made_while_another_writes_are_whole(scene, tmp_path, elsewhere):
    stop, written, failed = threading.Event(), [], []

    def write():
        first = 100
        try:
            while not stop.is_set():
                written.append(scene.ingest(range(first, first + 20)).version)
                first += 20
        except Exception as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        versions = []
        for number in range(3):
            backup(scene.store, tmp_path / "backup")
            report = restore(tmp_path / "backup", *elsewhere(f"new{number}"))
            assert report.verified.problems == []
            restored = Store.open(report.store, __version__)
            versions.append(restored.version("demo").number)
            restored.database.close()
    finally:
        stop.set()
        writer.join()
    assert failed == []
    assert len(written) > 3
    assert sorted(versions) == versions


def test_gc_leaves_what_a_backup_is_copying(scene, tmp_path, monkeypatch):
    from influence_store.jobs import backup as module

    real = module.step

    def then(name):
        real(name)
        if name == "backup-snapshot":
            scene.retire("embedding")
            report = gc(scene.store, grace=0, act=True)
            assert report.retired_kept == 1

    monkeypatch.setattr(module, "step", then)
    assert backup(scene.store, tmp_path / "backup").copied.files == len(scene.files())


def test_places_that_hold_something_else_are_refused(scene, store, tmp_path, elsewhere):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").write_text("x")
    with pytest.raises(UsageError, match=r"holds a\.tex, which is no part of a backup"):
        backup(scene.store, tmp_path / "thesis")
    backup(scene.store, tmp_path / "backup")
    with pytest.raises(UsageError, match="is a backup of another store"):
        backup(store, tmp_path / "backup")
    with pytest.raises(UsageError, match="is a store already"):
        restore(tmp_path / "backup", scene.store.uri)
    with pytest.raises(NotFound, match=r"no backup at .*nowhere"):
        restore(tmp_path / "nowhere", *elsewhere("new"))


def test_a_changed_catalog_is_no_backup(scene, tmp_path, elsewhere):
    backup(scene.store, tmp_path / "backup")
    (catalog,) = (tmp_path / "backup" / "catalogs").iterdir()
    flip(catalog)
    with pytest.raises(IntegrityError, match="was changed after it was made"):
        restore(tmp_path / "backup", *elsewhere("new"))


def test_a_backup_of_a_later_program_is_refused(scene, tmp_path, elsewhere):
    backup(scene.store, tmp_path / "backup")
    seal = tmp_path / "backup" / "backup.json"
    seal.write_text(json.dumps({**json.loads(seal.read_text()), "format": 9}))
    with pytest.raises(Exception, match="has format 9, this program knows 1") as caught:
        restore(tmp_path / "backup", *elsewhere("new"))
    assert caught.value.exit_code == 8


@pytest.fixture
def server(postgres_server):
    """A PostgreSQL to move to."""
    return postgres_server


def test_a_store_moves_to_postgresql_and_back(scene, tmp_path, opened, server):
    backup(scene.store, tmp_path / "one")
    url = server.create("moved")
    moved = restore(tmp_path / "one", tmp_path / "team", url)
    assert moved.verified.problems == []
    team = opened(moved)
    assert team.database.is_postgres
    assert seen(team) == seen(scene.store)
    there = type(scene)(team, scene.inputs)
    there.ingest(range(40, 60))
    there.embed()

    backup(team, tmp_path / "two")
    home = opened(restore(tmp_path / "two", tmp_path / "laptop"))
    assert not home.database.is_postgres
    assert seen(home) == seen(team)
    assert len(home.version("demo").bits) == 60


def test_a_store_moves_into_a_bucket_and_is_kept_there(scene, tmp_path, server, monkeypatch):
    with s3_server() as endpoint:
        for name, value in environment(endpoint).items():
            monkeypatch.setenv(name, value)
        backup(scene.store, tmp_path / "backup")
        url = server.create("bucket")
        assert restore(tmp_path / "backup", f"s3://{BUCKET}/new", url).verified.problems == []
        store = Store.open(f"s3://{BUCKET}/new", __version__, url)
        assert seen(store) == seen(scene.store)
        assert repair(store, quarantine=True).lines() == [f"{store.uri}: nothing to repair"]
        assert gc(store, grace=0, act=True).lines() == ["nothing to remove"]

        path = scene.data_file("samples").relative_to(scene.root).as_posix()
        content = bytearray(store.storage.read(path))
        content[100] ^= 1
        store.storage.put(path, bytes(content))
        (problem,) = verify_store(store, deep=True).problems
        assert (problem.code, problem.where) == ("changed", path)
        backup(scene.store, f"s3://{BUCKET}/backup")
        healed = repair(store, quarantine=True, source=f"s3://{BUCKET}/backup")
        assert (healed.healed, healed.blocks) == ([path], [])
        store.storage.put(path, bytes(content))
        lost = repair(store, quarantine=True)
        assert store.storage.read(f"{lost.quarantine}/{path}") == bytes(content)
        doctor(f"s3://{BUCKET}/new", url).check()
        store.database.close()


def _files(folder):
    return [path for path in (folder / "backup").rglob("*") if path.is_file()]


def test_a_backup_needs_no_store_any_more(scene, tmp_path, elsewhere, opened):
    before = seen(scene.store)
    backup(scene.store, tmp_path / "backup")
    scene.store.database.close()
    for path in sizes(scene.root):
        (scene.root / path).unlink()
    assert seen(opened(restore(tmp_path / "backup", *elsewhere("new")))) == before
