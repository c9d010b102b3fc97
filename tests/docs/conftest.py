"""One prepared world for all pages; each page runs in a copy of it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from docs_world import build


@pytest.fixture(scope="session")
def world(tmp_path_factory, tiny_llm):
    """Made once: files, and a store in which the main job was done."""
    home, folder = Path.cwd(), tmp_path_factory.mktemp("docs")
    os.chdir(folder)
    try:
        return build(folder, str(tiny_llm))
    finally:
        os.chdir(home)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to work and import modules in, and nothing of the user's own."""
    for name in [one for one in os.environ if one.startswith("INFLUENCE_STORE_")]:
        if not name.startswith("INFLUENCE_STORE_TEST") and name != "INFLUENCE_STORE_CACHE":
            monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    importlib.invalidate_caches()
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            sys.modules.pop(name)
