"""One backend for the session, a warm parent for every child, and scenes to play in."""

from __future__ import annotations

from importlib.util import find_spec

import children
import pytest
from backends import Places
from workers import Scene


def pytest_collection_modifyitems(items):
    """Torch takes seconds to import: only for those who need it, before the first child starts."""
    named = ("test_kills_at_every_step", "test_label_kills")
    needed = any(item.path.stem in named for item in items)
    if needed and find_spec("torch"):
        children.preload("warm_torch")


@pytest.fixture(scope="session")
def places(backend, tmp_path_factory):
    """Stores on the backend of the suite."""
    return Places(backend, tmp_path_factory.mktemp("places"))


@pytest.fixture
def place(places):
    """A fresh store."""
    made = places.fresh()
    yield made
    places.drop(made)


@pytest.fixture
def scene(place, tmp_path):
    """A fresh store with room for journals."""
    return Scene(place, tmp_path / "scene", seed=0).make()
