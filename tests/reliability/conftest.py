"""One backend for the session, a warm parent for every child, and scenes to play in."""

from __future__ import annotations

import os
from importlib.util import find_spec

import backend as suite
import children
import pytest
from backends import S3, Places
from workers import Scene


def pytest_collection_modifyitems(items):
    """Torch takes seconds to import: only for those who need it, before the first child starts."""
    needed = any(item.path.stem == "test_kills_at_every_step" for item in items)
    if needed and find_spec("torch"):
        children.preload("warm_torch")


@pytest.fixture(scope="session")
def places(request, tmp_path_factory):
    """$INFLUENCE_STORE_TEST_BACKEND: sqlite, postgres, or (here only) s3."""
    folder = tmp_path_factory.mktemp("places")
    if os.environ.get(suite.VARIABLE) != "s3":
        yield Places(request.getfixturevalue("backend"), folder)
        return
    made = S3()
    yield Places(made, folder)
    made.close()


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
