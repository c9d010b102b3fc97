"""doctor answers every question, also about stores that cannot be opened."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from raw_path import raw_path
from sqlalchemy import text

from influence_store.embedding.provider import Provider, provider_used
from influence_store.errors import StorageError
from influence_store.jobs import doctor as module
from influence_store.jobs.doctor import doctor, network_file_system
from influence_store.jobs.gc import gc
from influence_store.schema.catalog import Run

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/scratch tmpfs rw 0 0
//box/share /mnt/my\\040share cifs rw 0 0
proc /proc proc rw 0 0
"""


@pytest.fixture
def ask(scene):
    def about(what):
        report = doctor(scene.store.uri, scene.store.database.url)
        return [(one.level, one.found) for one in report.findings if one.about == what]

    return about


def test_a_healthy_store_passes(scene):
    gc(scene.store, act=True)
    report = doctor(scene.store.uri, scene.store.database.url)
    report.check()
    answered = {one.about for one in report.findings}
    asked = {"versions", "ONNX Runtime", "place", "schema", "catalog", "clocks", "runs"}
    assert asked <= answered
    assert ("space" in answered) == isinstance(scene.root, Path)  # a bucket has no end
    assert report.facts()["fit"] is True
    levels = {one.about: one.level for one in report.findings}
    del levels["ONNX Runtime"]
    levels.pop("space", None)
    assert set(levels.values()) == {"OK"}
    assert not (scene.root / "tmp").exists() or not list((scene.root / "tmp").iterdir())


def test_no_store_is_a_failure_with_the_line_that_makes_one(tmp_path):
    report = doctor(str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match=r"(?s)checks failed: store.*init"):
        report.check()


def test_another_schema_is_a_failure_and_the_rest_is_still_asked(scene, ask):
    scene.store.database.write(
        lambda session: session.connection().execute(
            text("update alembic_version set version_num = '0001'")
        )
    )
    ((level, found),) = ask("schema")
    assert level == "FAIL"
    assert "has schema 0001, this program knows" in found
    assert ask("place")


def test_the_catalog_of_another_store_is_a_failure(scene, ask):
    marker = raw_path(scene.store.uri) / "store.json"
    marker.write_text(marker.read_text().replace('"store": "', '"store": "0'))
    ((level, found),) = ask("catalog")
    assert level == "FAIL"
    assert "its catalog belongs to" in found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/store", None),
        ("/home/me/store", "nfs4"),
        ("/home/scratch/store", None),
        ("/mnt/my share/store", "cifs"),
        ("/homestead/store", None),
    ],
)
def test_network_file_systems_are_known_by_the_innermost_mount(path, kind):
    assert network_file_system(Path(path), MOUNTS) == kind


@pytest.mark.usefixtures("needs_folder")
def test_sqlite_on_a_network_file_system_is_refused_postgresql_warned(scene, ask, monkeypatch):
    monkeypatch.setattr(module, "network_file_system", lambda _path: "nfs4")
    ((level, found),) = ask("file system")
    if scene.store.database.is_postgres:
        assert (level, "nothing is promised" in found) == ("WARN", True)
    else:
        assert (level, "its locks do not hold" in found) == ("FAIL", True)


@pytest.mark.usefixtures("needs_folder")
@pytest.mark.parametrize(("free", "level"), [(1 << 20, "FAIL"), (1 << 28, "WARN"), (1 << 31, "OK")])
def test_little_space_is_told(ask, monkeypatch, free, level):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 40, 1, free))
    assert ask("space")[0] == (level, f"{free:,} bytes free")


def test_clocks_that_differ_are_told(scene, ask, monkeypatch):
    real = type(scene.store.database).now
    monkeypatch.setattr(type(scene.store.database), "now", lambda *its: real(*its) - 7200)
    ((level, found),) = ask("clocks")
    assert level == "WARN"
    assert "+7200 s against the catalog" in found


def test_dead_runs_and_a_missing_ballast_are_told(scene, ask):
    run = scene.store.claim("embed", "embed:demo", {})

    def die(session):
        session.get_one(Run, run.id).lease_until = 0.0

    scene.store.database.write(die)
    assert ask("runs") == [("WARN", "0 at work, 1 died: embed:demo")]
    if not scene.store.database.is_postgres:
        assert ask("ballast")[0][0] == "WARN"


@pytest.mark.usefixtures("needs_folder")
@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_store_that_everybody_may_write_is_told(scene, ask):
    scene.root.chmod(0o777)
    assert ("WARN", "everybody on this machine may write") in ask("place")


def test_the_provider_is_the_one_that_computed():
    used = provider_used()
    assert used.name.endswith("ExecutionProvider")
    assert used.on_gpu == (used.name != "CPUExecutionProvider")


def test_a_gpu_package_that_falls_back_is_told_aloud(monkeypatch):
    monkeypatch.setattr(module, "_installed", lambda _name: "1.31")
    for has_gpu, word in ((True, "there is a GPU, but it is not used"), (False, "no NVIDIA")):
        used = Provider("CPUExecutionProvider", has_gpu)
        monkeypatch.setattr(module, "provider_used", lambda used=used: used)
        (finding,) = module._provider()
        assert finding.level == "WARN"
        assert "THE GPU PACKAGE COMPUTES ON THE CPU" in finding.found
        assert word in finding.found


def test_another_lance_than_the_tested_pair_is_a_failure(monkeypatch):
    monkeypatch.setattr(module, "requires", lambda _name: ["pylance==13.0.0", "numpy>=2"])
    monkeypatch.setattr(module, "_installed", lambda name: "99" if name == "pylance" else "1")
    levels = [one.level for one in module._versions()]
    assert levels == ["OK", "FAIL"]
