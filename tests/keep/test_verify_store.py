"""P6: any changed, missing or extra byte of what was published is found, and told usefully."""

from __future__ import annotations

import pytest
from harm import flip
from sqlalchemy import text

from influence_store.errors import IntegrityError
from influence_store.jobs.inspect_all import inspect_all
from influence_store.jobs.inspection import inspect, record_of
from influence_store.jobs.inventory import ADVISORY, held
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Block, BlockFile, Dataset, DatasetVersion, Selection


def records(store):
    known = held(store)
    files = known.files_by_owner()
    return [record_of(owner, files[name]) for name, owner in known.owners().items()]


def change(store, row_type, **values):
    """Set columns of every row of a table, behind the back of the program."""

    def work(session):
        pairs = ", ".join(f"{name} = :{name}" for name in values)
        session.connection().execute(text(f"update {row_type.__tablename__} set {pairs}"), values)

    store.database.write(work)


def codes(report):
    return {(one.code, one.where) for one in report.problems}


def test_a_whole_store_is_clean_whichever_way_it_is_looked_at(scene, children):
    for deep in (False, True):
        report = verify_store(scene.store, deep=deep)
        assert report.problems == []
        assert (report.blocks, report.artifacts) == (4, 1)
        assert report.files == len(scene.files())
        assert report.leftover_files == report.foreign_files == 0
        report.check()


def test_every_flipped_bit_is_found_by_a_deep_look(scene):
    tried = 0
    for record in records(scene.store):
        for path, size, _ in record.files:
            if path.endswith(ADVISORY):
                continue
            for at in {0, size // 3, size // 2, size - 1}:
                flip(scene.root / path, at)
                found = inspect(scene.store.storage, record, ADVISORY)
                assert [(one.code, one.path) for one in found] == [("changed", path)], (path, at)
                flip(scene.root / path, at)
                tried += 1
    assert tried >= 40


def test_a_quick_look_finds_every_missing_and_every_cut_file(scene):
    paths = [path for path in scene.files() if not path.endswith(ADVISORY)]
    contents = {path: (scene.root / path).read_bytes() for path in paths}
    for path in paths:
        (scene.root / path).unlink()
    assert codes(verify_store(scene.store)) == {("missing", path) for path in paths}
    for path, content in contents.items():
        (scene.root / path).write_bytes(content[:-1])
    assert codes(verify_store(scene.store)) == {("size", path) for path in paths}


@pytest.mark.usefixtures("needs_folder")
def test_the_hint_that_nobody_reads_may_say_anything(scene):
    for path in scene.root.rglob(ADVISORY):
        path.write_bytes(b"?")
    assert verify_store(scene.store).problems == []
    assert all(not inspect(scene.store.storage, one, ADVISORY) for one in records(scene.store))


def test_a_problem_names_whom_it_concerns_and_what_mends_it(scene):
    scene.data_file("samples").write_bytes(b"cut")
    (problem,) = verify_store(scene.store).problems
    assert problem.affects == ("demo@1", "selection 5e1ec7")
    assert problem.mend == "influence-store repair --quarantine"
    told = "\n".join(problem.lines())
    assert "found 3 bytes" in told
    assert "affects demo@1, selection 5e1ec7" in told


def test_a_lost_selection_and_a_lost_artifact_say_so(scene):
    scene.data_file("selection").unlink()
    sha256 = scene.artifact(b"more weights")
    (scene.root / "objects" / sha256[:2] / sha256).write_bytes(b"more Weights")
    first, second = verify_store(scene.store, deep=True).problems
    assert (first.code, first.affects) == ("missing", ("selection 5e1ec7",))
    assert (second.code, second.owner) == ("changed", sha256)


def test_bytes_too_many_are_a_problem_inside_a_block_and_a_leftover_elsewhere(scene):
    folder = scene.root / scene.block("rows").path
    (folder / "data" / "more.lance").write_bytes(b"x")
    (scene.root / "blocks" / "stray.txt").write_bytes(b"x")
    (scene.root / "blocks" / "rows" / "0123456789abcdef-00001.lance").mkdir()
    (scene.root / "blocks" / "rows" / "0123456789abcdef-00001.lance" / "a").write_bytes(b"x")
    with scene.store.claim("embed", "embed", {}) as run:
        (scene.root / f"blocks/rows/{run.id}-00001.lance").mkdir()
        (scene.root / f"blocks/rows/{run.id}-00001.lance" / "a").write_bytes(b"x")
    (scene.root / "objects" / "aa.part").write_bytes(b"x")
    (scene.root / "README").write_bytes(b"x")
    report = verify_store(scene.store)
    assert codes(report) == {
        ("extra", f"{scene.block('rows').path}/data/more.lance"),
        ("unknown", "blocks/stray.txt"),
        ("unknown", "blocks/rows/0123456789abcdef-00001.lance"),
    }
    assert (report.leftover_files, report.foreign_files) == (2, 1)


def test_what_dies_while_it_is_looked_at_names_the_block_that_killed_it(scene, monkeypatch):
    every = records(scene.store)
    monkeypatch.setenv("INFLUENCE_STORE_KILL_AT", "inspecting:2")
    looks = list(inspect_all(scene.store, every[:3]))
    assert [record for record, _ in looks] == every[:3]
    first, (killer,), third = [found for _, found in looks]
    assert first == third == []
    assert killer.path == every[1].owner
    assert "ended the checking process (exit code -9)" in killer.found


@pytest.mark.parametrize(
    ("row_type", "values", "told"),
    [
        (DatasetVersion, {"digest": "0" * 32}, "its bitmap has digest"),
        (DatasetVersion, {"n_rows": 39}, "its bitmap has 40 rows"),
        (DatasetVersion, {"number": 2}, "missing or too many: [1, 2]"),
        (Dataset, {"head": 2}, "missing or too many: [2]"),
        (Block, {"retired_at": 1.0}, "40 of its 40 rows have no content"),
        (Block, {"bits": b"?"}, "its bitmap cannot be read"),
        (Selection, {"n_items": 6}, "its block has 5 rows of selection"),
    ],
)
def test_a_catalog_that_contradicts_itself_is_told(scene, row_type, values, told):
    change(scene.store, row_type, **values)
    found = [one.found for one in verify_store(scene.store).problems if one.code == "catalog"]
    assert any(told in one for one in found), found


def test_sids_that_were_never_given_and_cells_with_two_values_are_told(scene):
    def work(session):
        session.connection().execute(text("update counter set next = 30"))
        twice = session.get_one(Block, scene.block("embedding").id).model_dump(exclude={"id"})
        session.add(Block(**{**twice, "path": "blocks/embedding/again.lance"}))

    scene.store.database.write(work)
    found = [one.found for one in verify_store(scene.store).problems if one.code == "catalog"]
    assert "speaks for sid 39" in found
    assert "40 sids that an earlier block of the same column speaks for" in found


def test_wrong_row_counts_and_checksums_are_found_though_every_byte_is_right(scene):
    change(scene.store, Block, n_rows=7)
    quick = [one for one in verify_store(scene.store).problems if one.code == "rows"]
    assert {one.expected for one in quick} == {"7 rows"}
    change(scene.store, Block, n_rows=40, checksum="0" * 32)
    samples = next(one for one in records(scene.store) if "/samples/" in one.owner)
    (found,) = inspect(scene.store.storage, samples)
    assert found.code == "checksum"


def test_a_manifest_of_zeros_is_unreadable_not_a_crash(scene):
    block = scene.block("embedding")
    (manifest,) = (scene.root / block.path / "_versions").glob("*.manifest")
    manifest.write_bytes(bytes(manifest.stat().st_size))
    (problem,) = verify_store(scene.store).problems
    assert (problem.code, problem.where) in {("unreadable", block.path), ("rows", block.path)}


def test_what_another_run_retired_meanwhile_is_no_problem(scene, monkeypatch):
    from influence_store.jobs import verify_store as module

    def looks_then_is_overtaken(store, record):
        found = real(store, record)
        if "/embedding/" in record.owner:
            scene.retire("embedding")
            return [module.Finding("unreadable", record.owner, "gone", "a table")]
        return found

    real = module.opens
    monkeypatch.setattr(module, "opens", looks_then_is_overtaken)
    assert verify_store(scene.store).problems == []


def test_check_raises_with_the_command_that_mends(scene):
    scene.data_file("rows").unlink()
    report = verify_store(scene.store)
    assert report.facts()["clean"] is False
    with pytest.raises(IntegrityError, match=r"(?s)1 problem in .*repair --quarantine"):
        report.check()
    assert "1 problem" in report.lines()[-1]


def test_files_of_a_foreign_key_are_checked(scene):
    """SQLite lets a row name one that is not there only behind our back; PostgreSQL never."""
    if scene.store.database.is_postgres:
        pytest.skip("PostgreSQL refuses such a row")
    raw = scene.store.database.engine.raw_connection()
    raw.driver_connection.execute("pragma foreign_keys=off")
    raw.driver_connection.execute(
        f"insert into {BlockFile.__tablename__} (block_id, path, size, sha256) "
        f"select id, 'x', 1, 'x' from block where false"
    )
    raw.driver_connection.execute("update block set run_id = 'nobody' where kind = 'rows'")
    raw.driver_connection.execute("pragma foreign_keys=on")
    raw.close()
    found = [one.found for one in verify_store(scene.store).problems]
    assert "names a row of run that is not there" in found
