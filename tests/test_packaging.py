"""One distribution, one installed name, and everything of the top level inside it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import influence_store

ROOT = Path(__file__).parents[1]


def python(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, **kwargs
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--outdir", str(out), str(ROOT), cwd=out)
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_wheel_built_from_the_sdist_holds_one_name_and_every_source_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"influence_store"}
    for folder in ("schema", "exporters", "influence_store"):
        for path in (ROOT / folder).rglob("*.py"):
            relative = path.relative_to(ROOT).as_posix()
            inside = relative if folder == "influence_store" else f"influence_store/{relative}"
            assert inside in names
    assert {"influence_store/cli.py", "influence_store/py.typed"} <= names
    assets = {f"influence_store/report/{name}" for name in ("page.html", "page.js", "style.css")}
    assert assets <= names
    for folder in ("static", "templates"):
        pages = (ROOT / "influence_store" / "serve" / folder).iterdir()
        assert {f"influence_store/serve/{folder}/{path.name}" for path in pages} <= names


def test_version_stands_on_top_of_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if "## [" in line]
    assert headings[0].startswith(f"## [{version}]")


def test_public_names_are_complete_and_sorted():
    assert influence_store.__all__ == sorted(influence_store.__all__, key=str.lower)
    for name in influence_store.__all__:
        assert getattr(influence_store, name) is not None


HEAVY = ["torch", "transformers", "lancedb", "pyarrow", "polars", "sqlmodel", "sqlalchemy",
         "numpy", "onnxruntime", "duckdb", "rich", "scipy"]  # fmt: skip


@pytest.mark.parametrize("code", ["import influence_store", "from influence_store import cli"])
def test_importing_and_asking_for_help_loads_nothing_heavy(code):
    told = python("-c", f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])")
    assert told.strip() == "[]"


def test_what_only_reads_the_catalog_loads_no_reader_of_tables_and_no_statistics():
    code = "import influence_store.store.store, influence_store.jobs.status as _, sys\n"
    code += "print([m for m in ('polars', 'scipy', 'lancedb', 'lance') if m in sys.modules])\n"
    code += "import influence_store.jobs.outlook, influence_store.query\n"
    code += "print([m for m in ('scipy', 'lancedb', 'torch') if m in sys.modules])"
    assert python("-c", code).split("\n")[:2] == ["[]", "[]"]


def test_cli_runs_from_a_checkout(tmp_path):
    told = python(str(ROOT / "cli.py"), "--help", cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    for verb in ("init", "ingest", "embed", "label", "train", "fill", "query", "select"):
        assert f"\n  {verb} " in told


def test_nothing_is_told_to_anybody_and_no_identifier_is_kept(tmp_path):
    """ONNX Runtime 1.31 wrote one into ~/.cache/Microsoft as soon as it was imported."""
    (tmp_path / "tmp").mkdir()
    reads = "import influence_store, onnxruntime"
    python("-c", reads, env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}, cwd=ROOT)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
