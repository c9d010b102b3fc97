"""Stores that cannot be used as they are: rows 44, 45, 47 to 49 of the bad-input table."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from good_store import facts_of, shell
from sqlalchemy import text

from influence_store.errors import UsageError
from influence_store.jobs.doctor import doctor
from influence_store.store import mounts
from influence_store.store.store import Store
from influence_store.version import __version__

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/team\040share rw,noatime master:1 - nfs4 filer:/vol rw,vers=4.2
31 30 8:17 / /mnt/team\040share/scratch rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/win rw - cifs //server/share rw
33 22 0:42 / /mnt/keys rw - fuse.sshfs me@host:/ rw
34 22 8:33 / /mnt/win rw - ext4 /dev/sdc1 rw
35 22 0:43 / /mnt/usb rw - fuseblk /dev/sdd1 rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/store", None),
        ("/mnt/team share/store", "nfs4"),
        ("/mnt/team share", "nfs4"),
        ("/mnt/team shares", None),
        ("/mnt/team share/scratch/store", None),  # a local disk inside it
        ("/mnt/win/store", None),  # covered by a local disk mounted later
        ("/mnt/keys/a/b", "fuse.sshfs"),
        ("/mnt/usb/store", None),
        ("/mnt/keys/../usb/store", None),
    ],
)
def test_the_innermost_mount_tells_whether_a_folder_is_on_a_network_disk(folder, kind):
    found = mounts.network_mount(Path(folder), mounts.mounts(TABLE))
    assert (found and found.kind) == kind


def test_a_catalog_on_a_network_disk_is_refused_unless_somebody_insists(tmp_path, monkeypatch):
    root = Path(os.path.realpath(tmp_path))
    line = f"99 1 0:9 / {root} rw - nfs4 filer:/vol rw"
    monkeypatch.setattr(mounts, "_TABLE", root / "mountinfo")
    (root / "mountinfo").write_text(f"{TABLE}{line}\n")
    store = root / "store"
    said = shell("--store", str(store), "init")
    assert said.code == 2
    assert "is on a network disk (nfs4, filer:/vol), where SQLite can lose" in said.err
    assert f"{mounts.VARIABLE}=1" in said.err
    assert not list(store.rglob("*.sqlite"))
    monkeypatch.setenv(mounts.VARIABLE, "1")
    assert shell("--store", str(store), "init").code == 0
    monkeypatch.delenv(mounts.VARIABLE)
    assert shell("--store", str(store), "status").code == 2  # moved there later, or forgotten


def test_where_the_system_has_no_table_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "_TABLE", tmp_path / "absent")
    mounts.refuse_network_disk(tmp_path)
    assert mounts.mounts() == []
    assert not [mount for mount in mounts.mounts(TABLE) if mount.point == Path("/mnt/team")]
    monkeypatch.setattr(mounts, "mounts", lambda: [mounts.Mount(Path("/"), "nfs", "x:/")])
    with pytest.raises(UsageError, match="network disk"):
        mounts.refuse_network_disk(tmp_path)


@pytest.mark.parametrize("revision", ["9999", "0000", "", "x\x1b[31m"])
def test_another_schema_is_refused_with_both_versions_and_the_way_out(trial, revision):
    store = Store.open(trial.uri, __version__)
    with store.database.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("update alembic_version set version_num = :v"), {"v": revision})
    store.database.close()
    path = trial.file("a.jsonl", '{"instruction": "a", "output": "b"}\n')
    for command in (("status",), ("ingest", path, "--dataset", "new"), ("query", "select 1")):
        said = trial(*command)
        assert (said.code, said.out) == (8, ""), said
        assert re.search("the catalog has schema .*, this program knows", said.err), said.err
        way_out = "upgrade influence-store" if revision > "1" else "influence-store migrate"
        assert way_out in said.err
        assert "\x1b" not in said.err


def test_what_is_no_store_is_none(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for arguments, code, told in (
        (("--store", tmp_path / "absent", "status"), 4, "there is no store at .*\n  run: .* init"),
        (("--store", tmp_path, "status"), 4, "there is no store at"),
        (("--store", tmp_path, "init"), 2, "is not empty and not a store"),
        (("--store", "ftp://host/x", "status"), 2, "ftp:// is no place for a store\n  a folder"),
        (("--store", "s3:/bucket/x", "init"), 2, "s3:/bucket/x has lost a slash\n  s3://bucket"),
        (("--store", tmp_path / "notes.txt", "status"), 4, "there is no store at"),
    ):
        said = shell(*map(str, arguments))
        assert (said.code, said.out) == (code, ""), said
        assert re.search(told, said.err), said.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"store": 1}', b'{"stor": "x"}', b"\xff"])
def test_a_marker_that_cannot_be_read_is_named(trial, content):
    (trial.root / "store.json").write_bytes(content)
    said = trial("status")
    assert (said.code, said.out) == (7, ""), said
    assert "store.json" in said.err
    assert "restore it from a backup" in said.err


@pytest.mark.usefixtures("needs_sqlite")
@pytest.mark.parametrize("content", [b"", b"not a database" * 99])
def test_a_catalog_that_is_no_database_is_named(trial, content):
    trial.watched.database.close()
    (trial.root / "catalog.sqlite").write_bytes(content)
    said = trial("status")
    assert said.code in (6, 7, 8), said
    assert said.out == ""
    assert "catalog" in said.err
    assert "Traceback" not in said.err


def test_a_store_that_lost_its_marker_and_catalog_is_none(trial):
    for path in [*trial.root.glob("catalog.sqlite*"), trial.root / "store.json"]:
        path.unlink()
    said = trial("status")
    assert said.code == 4
    assert "there is no store at" in said.err


def test_a_lance_table_of_a_format_from_the_future_is_named_and_nothing_is_written(trial):
    """Its manifest asks the reader for features that do not exist yet."""
    for manifest in (trial.holdings / "blocks" / "embedding").rglob("*.manifest"):
        manifest.write_bytes(_with_future_flags(manifest.read_bytes()))
    said = trial("top", "pool", trial.ids[0])
    assert said.code in (7, 8), said
    assert "blocks/embedding/" in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


def _with_future_flags(manifest: bytes) -> bytes:
    """A Lance manifest: its message, prefixed by its length, then 16 bytes that say where it is."""
    start = int.from_bytes(manifest[-16:-8], "little")
    size = int.from_bytes(manifest[start : start + 4], "little")
    message = manifest[start + 4 : start + 4 + size]
    # Field 9, reader_feature_flags: the last value of a field counts.
    message += bytes([9 << 3]) + b"\x80\x80\x80\x80\x80\x80\x40"
    return manifest[:start] + len(message).to_bytes(4, "little") + message + manifest[-16:]


@contextmanager
def as_nobody(*folders: Path):
    """As a user who may enter `folders` and owns nothing: to root, permissions mean nothing."""
    modes = [(folder, folder.stat().st_mode) for folder in folders]
    me = os.geteuid()
    try:
        if me == 0:
            for folder, mode in modes:
                folder.chmod(mode | 0o055)
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(me)
        for folder, mode in modes:
            folder.chmod(mode)


def way_to(folder: Path) -> list[Path]:
    """The folders above that pytest keeps to itself."""
    return [one for one in (folder, *folder.parents) if "pytest-" in str(one)]


@pytest.mark.usefixtures("needs_sqlite")
def test_a_read_only_store_can_be_read_and_refuses_to_be_written(trial):
    trial.watched.database.close()
    assert not (trial.root / "catalog.sqlite-wal").exists()
    inside = list(trial.root.rglob("*"))
    folders = [trial.root, *(path for path in inside if path.is_dir())]
    for path in inside:
        path.chmod(0o555 if path in folders else 0o444)
    trial.root.chmod(0o555)
    path = trial.file("a.jsonl", '{"instruction": "a", "output": "b"}\n')
    with as_nobody(*way_to(trial.folder), *way_to(trial.root.parent)):
        seen = trial("top", "pool", trial.ids[0], "--json")
        said = trial("ingest", path, "--dataset", "new", "--no-fill")
        selected = trial("select", "pool", "--budget", "7")
        examined = doctor(trial.uri)
    for folder in folders:
        folder.chmod(0o755)
    assert len(seen.json()["rows"]) == 10
    assert (said.code, said.out) == (9, ""), said
    assert "cannot be written: Permission denied\n  this store can only be read by" in said.err
    assert (selected.code, selected.out) == (9, ""), selected
    assert "catalog cannot be written" in selected.err
    failed = {one.about for one in examined.findings if one.level == "FAIL"}
    assert {"place", "catalog"} <= failed
    trial.unharmed()


@pytest.mark.usefixtures("needs_folder")
def test_a_store_that_may_not_be_entered_is_forbidden(trial):
    trial.root.chmod(0o700)
    with as_nobody(*way_to(trial.root.parent)):
        said = trial("status")
    assert (said.code, said.out) == (9, ""), said
    assert "store.json: Permission denied" in said.err


def test_a_copy_of_a_store_is_a_store(trial, copy_store, tmp_path):
    """The harness itself: what every other test starts from is sound."""
    copy = Store.open(copy_store(trial.uri, tmp_path / "copy"), __version__)
    assert facts_of(copy).rows == trial.before.rows
    copy.database.close()
    trial.unharmed()
    assert trial("status", "--json").json()["contents"] == 48
