"""repair moves what is damaged, deletes nothing, and says truly what makes it again."""

from __future__ import annotations

import pytest
from harm import flip
from sqlmodel import select

from influence_store.errors import Busy
from influence_store.jobs.backup import backup
from influence_store.jobs.redo import redo
from influence_store.jobs.repair import repair
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Block, Run, Selection


def everything(scene):
    """All bytes that the store holds, wherever they lie."""
    return sorted(path.read_bytes() for path in scene.root.rglob("*.lance") if path.is_file())


def test_a_whole_store_needs_nothing(scene):
    report = repair(scene.store, quarantine=True)
    assert report.lines() == [f"{scene.store.uri}: nothing to repair"]


def test_a_dry_run_moves_nothing_and_tells_the_same(scene):
    flip(scene.data_file("embedding"))
    before = scene.files()
    planned = repair(scene.store)
    assert scene.files() == before
    done = repair(scene.store, quarantine=True)
    assert (planned.done, done.done) == (False, True)
    assert (planned.blocks, planned.losses) == (done.blocks, done.losses)


def test_a_damaged_block_is_moved_whole_and_embedded_again(scene, children):
    path, damaged = scene.block("embedding").path, scene.data_file("embedding")
    flip(damaged)
    bytes_before = everything(scene)
    report = repair(scene.store, quarantine=True)
    assert everything(scene) == bytes_before
    assert (scene.root / report.quarantine / path).is_dir()
    assert report.blocks == [path]
    (loss,) = report.losses
    assert (loss.rows, loss.affects) == (40, ("demo@1",))
    assert loss.again == ("influence-store embed demo --embedder hashing:8",)
    assert verify_store(scene.store).problems == []

    assert scene.embed().computed == 40
    assert verify_store(scene.store).problems == []


def test_lost_texts_say_which_files_to_read_again(scene):
    scene.data_file("samples").unlink()
    report = repair(scene.store, quarantine=True, deep=False)
    (loss,) = report.losses
    assert loss.again[0].endswith("repair --quarantine --from BACKUP")
    assert loss.again[1].startswith("influence-store ingest ")
    assert loss.again[1].endswith("demo-0-39.jsonl --dataset demo --snapshot")
    left = verify_store(scene.store).problems
    assert {one.found for one in left} == {"40 of its 40 rows have no content"}


def test_lost_origins_are_recorded_again_from_the_same_file_without_a_new_version(scene):
    scene.data_file("rows").unlink()
    repair(scene.store, quarantine=True, deep=False)
    assert verify_store(scene.store).problems != []
    again = scene.ingest(range(40))
    assert (again.changed, again.version, again.restored, again.new_contents) == (False, 1, 40, 0)
    assert verify_store(scene.store, deep=True).problems == []
    assert scene.ingest(range(40)).restored == 0


def test_a_lost_order_takes_its_selection_along_so_that_select_makes_it_again(scene):
    scene.data_file("selection").unlink()
    repair(scene.store, quarantine=True, deep=False)
    with scene.store.database.read() as session:
        assert session.exec(select(Selection)).all() == []
    assert verify_store(scene.store).problems == []
    scene.select()
    assert verify_store(scene.store).problems == []


def test_a_lost_artifact_comes_back_when_the_same_bytes_are_made(scene):
    sha256 = scene.artifact(b"weights of a day")
    flip(scene.root / "objects" / sha256[:2] / sha256, 0)
    report = repair(scene.store, quarantine=True)
    assert report.blocks == [f"objects/{sha256[:2]}/{sha256}"]
    assert [one.code for one in verify_store(scene.store).problems] == ["missing"]
    scene.artifact(b"weights of a day")
    assert verify_store(scene.store).problems == []


def test_llm_passes_are_counted_by_the_share_of_the_block(scene):
    id_ = scene.block("embedding").id

    def as_if_labelled(session):
        block = session.get_one(Block, id_)
        block.kind = "points"
        run = session.get_one(Run, block.run_id)
        run.cost = {"llm_passes": 80}

    scene.store.database.write(as_if_labelled)
    from influence_store.jobs.inventory import held

    known = held(scene.store)
    (loss,) = redo(known, [one for one in known.blocks if one.id == id_])
    assert loss.llm_passes == 80
    assert loss.again[0].startswith("influence-store label demo …, as in run ")


def test_files_too_many_are_moved_and_the_block_stays(scene):
    more = scene.root / scene.block("rows").path / "data" / "more.lance"
    more.write_bytes(b"x")
    stray = scene.root / "blocks" / "rows" / "0123456789abcdef-00001.lance" / "data" / "x"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"y")
    report = repair(scene.store, quarantine=True, deep=False)
    assert (report.blocks, len(report.files)) == ([], 2)
    kept = scene.root / report.quarantine
    moved = [path.read_bytes() for path in kept.rglob("*") if path.is_file()]
    assert sorted(moved) == [b"x", b"y"]
    assert verify_store(scene.store).problems == []


def test_a_backup_brings_the_right_bytes_back_and_nothing_is_lost(scene, tmp_path):
    backup(scene.store, tmp_path / "backup")
    samples, rows = scene.data_file("samples"), scene.data_file("rows")
    content = samples.read_bytes()
    flip(samples)
    rows.unlink()
    planned = repair(scene.store, source=tmp_path / "backup")
    assert (len(planned.healed), planned.blocks) == (2, [])
    report = repair(scene.store, quarantine=True, source=tmp_path / "backup")
    assert report.healed == planned.healed
    assert report.blocks == []
    assert samples.read_bytes() == content
    assert verify_store(scene.store, deep=True).problems == []


def test_a_damaged_backup_heals_nothing(scene, tmp_path):
    backup(scene.store, tmp_path / "backup")
    damaged = scene.data_file("embedding")
    flip(damaged)
    flip(tmp_path / "backup" / damaged.relative_to(scene.root), 5)
    report = repair(scene.store, quarantine=True, source=tmp_path / "backup")
    assert report.healed == []
    assert len(report.blocks) == 1


def test_what_the_catalog_got_wrong_is_told_and_left(scene):
    from sqlalchemy import text

    scene.store.database.write(
        lambda session: session.connection().execute(text("update dataset set head = 2"))
    )
    report = repair(scene.store, quarantine=True, deep=False)
    assert (report.blocks, report.files) == ([], [])
    assert "restore the catalog" in report.left[0]


def test_two_repairs_wait_for_each_other(scene):
    with scene.store.claim("repair", "repair", {}), pytest.raises(Busy):
        repair(scene.store, quarantine=True, deep=False)
