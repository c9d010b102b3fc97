"""The verbs that keep a store: what they print, and the code they end with."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from influence_store.errors import InfluenceStoreError
from influence_store.settings import Place
from influence_store.shell import Context
from influence_store.verbs import keep


@pytest.fixture
def run(scene):
    def told(verb, *arguments, place=None):
        """stdout and exit code."""
        place = place or Place(scene.store.uri, scene.store.database.url)
        result = CliRunner().invoke(
            getattr(keep, verb), arguments, obj=Context(place), standalone_mode=False
        )
        if result.exception is None:
            return result.stdout, 0
        if not isinstance(result.exception, InfluenceStoreError):
            raise result.exception
        return result.stdout, result.exception.exit_code

    return told


def test_verify_prints_its_problems_and_ends_with_7(scene, run):
    assert run("verify") == (run("verify")[0], 0)
    scene.data_file("samples").write_bytes(b"cut")
    told, code = run("verify")
    assert code == 7
    assert "SIZE blocks/samples/" in told
    assert "affects demo@1" in told
    told, code = run("verify", "--deep", "--json", "--max-mb-per-s", "1000")
    assert code == 7
    assert json.loads(told)["problems"][0]["affects"] == ["demo@1", "selection 5e1ec7"]


def test_verify_of_a_selection_is_another_question(run):
    told, code = run("verify", "--selection", "nothing", "--deep")
    assert (told, code) == ("", 2)
    assert run("verify", "--selection", "nothing")[1] == 4


@pytest.mark.parametrize("arguments", [["--selection", "nothing"], []])
def test_only_a_deep_look_at_the_store_is_taken_elsewhere(run, arguments):
    assert run("verify", *arguments, "--engine", "ray")[1] == 2
    assert run("verify", *arguments, "--workers", "2")[1] == 2


def test_repair_and_gc_tell_first_and_act_when_told_to(scene, run):
    scene.data_file("embedding").write_bytes(b"cut")
    assert "nothing was touched" in run("repair", "--fast")[0]
    assert "embed demo --embedder hashing:8" in run("repair", "--fast", "--quarantine")[0]
    scene.embed()
    retired = f"retired blocks: {len(scene.files_of('embedding'))} files"
    scene.retire("embedding", 7200)
    assert f"would remove {retired}" in run("gc", "--grace", "1h")[0]
    assert run("gc", "--grace", "3h", "--yes")[0].startswith("nothing to remove")
    assert f"removed {retired}" in run("gc", "--grace", "60m", "--yes")[0]
    assert json.loads(run("gc", "--json")[0])["done"] is False


@pytest.mark.parametrize("grace", ["", "-1h", "1w", "soon", "1h30m"])
def test_a_grace_that_is_no_duration_is_refused(run, grace):
    assert run("gc", "--grace", grace)[1] == 2


def test_a_backup_becomes_a_store_elsewhere(run, tmp_path, elsewhere):
    told, code = run("backup", str(tmp_path / "backup"))
    assert (code, "verified" in told) == (0, True)
    told, code = run("restore", str(tmp_path / "backup"), place=Place(*elsewhere("new")))
    assert code == 0
    assert "no problems" in told
    assert run("restore", str(tmp_path / "backup"))[1] == 2


def test_doctor_ends_with_6_when_something_fails(run, tmp_path):
    told, code = run("doctor")
    assert (code, "OK    schema: revision" in told) == (0, True)
    told, code = run("doctor", place=Place(str(tmp_path / "nowhere")))
    assert code == 6
    assert "→ run: influence-store" in told
