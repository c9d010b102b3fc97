"""The method, entry point and check of docs/methods/third-party.md, run as the page has them."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from influence_store.errors import UsageError
from influence_store.influence import METHODS
from influence_store.testing import ConformanceError

PAGE = Path(__file__).parents[2] / "docs" / "methods" / "third-party.md"
_BLOCK = re.compile(r"```(python|toml)\n(?:# (\w+\.py)\n)?(.*?)```", re.DOTALL)


def blocks():
    """Text of each code block by its file name; the TOML goes into pyproject.toml."""
    found = _BLOCK.findall(PAGE.read_text("utf-8"))
    return {name or "pyproject.toml": text for _, name, text in found}


def install(folder, entry_points):
    """What pip leaves behind of a package: modules, and metadata that names entry points."""
    for name, text in blocks().items():
        (folder / name).write_text(text)
    metadata = folder / "my_influence-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-influence\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in points.items())
        for group, points in entry_points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    project = tomllib.loads(blocks()["pyproject.toml"])["project"]
    install(tmp_path, project["entry-points"])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("my_influence", "test_my_influence"):
        sys.modules.pop(name, None)


def test_the_method_of_the_page_is_found_by_its_entry_point(installed):
    entry = METHODS.entries()["zip-ratio"]
    assert entry.summary == "from my-influence"
    assert METHODS.get("zip-ratio").__module__ == "my_influence"


def test_the_method_of_the_page_conforms(installed):
    importlib.import_module("test_my_influence").test_zip_ratio_conforms()


def test_the_class_of_the_page_has_twenty_lines():
    assert "class ZipRatio" in blocks()["my_influence.py"]
    assert sum(bool(line.strip()) for line in blocks()["my_influence.py"].splitlines()) <= 20


def test_the_check_of_the_page_fails_where_the_method_is_broken(installed):
    module = importlib.import_module("my_influence")
    score = module.ZipRatio.score
    module.ZipRatio.score = lambda self, samples: score(self, samples[::-1])
    with pytest.raises(ConformanceError, match="order does not matter"):
        importlib.import_module("test_my_influence").test_zip_ratio_conforms()


def test_a_name_that_is_taken_is_an_error_not_a_race(tmp_path, monkeypatch):
    install(tmp_path, {"influence_store.influence": {"delift": "my_influence:ZipRatio"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="two packages offer the influence method 'delift'"):
        METHODS.get("delift")
