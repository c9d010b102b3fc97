"""Shared fixtures: a fresh store, a tiny LLM for speed, the real small one for truth."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from backend import PostgresServer, open_backend
from tiny_llm import write_tiny_llm

from influence_store.version import __version__

# A deadline for an example would be a test of how busy the machine is.
hypothesis.settings.register_profile("any pace", deadline=None)
hypothesis.settings.load_profile("any pace")


def pytest_collection_modifyitems(items):
    """Those that take minutes come first: at the end, the other core would wait for one of them."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def backend():
    """Where stores lie: on SQLite, or as $INFLUENCE_STORE_TEST_BACKEND says."""
    opened = open_backend()
    os.environ.update(opened.environment)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server(backend):
    """A real PostgreSQL: that of the suite, or one that is started for those who ask for it."""
    if backend.name == "postgres":
        yield backend.server
        return
    started = PostgresServer()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _tidy(backend, request):
    """What a test made in its own folder goes when it ends."""
    named = "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if named else None
    yield
    if folder is not None:
        backend.tidy(folder)


@pytest.fixture
def needs_folder(backend):
    """For tests whose subject is a folder of a disk: its rights, its space, its own catalog."""
    if backend.name == "s3":
        pytest.skip("its subject is a folder of a disk, and this store is in a bucket")


@pytest.fixture
def needs_sqlite(backend):
    """For tests whose subject is a catalog that lies beside the blocks, in a file."""
    if backend.name != "sqlite":
        pytest.skip("its subject is the file of SQLite, and this catalog is in PostgreSQL")


@pytest.fixture
def store(backend, tmp_path):
    from influence_store.store.store import Store

    uri, database = backend.new(tmp_path / "store")
    made, _ = Store.init(uri, __version__, database)
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def copy_store(backend):
    """Copies the whole store at a place that `open_cli` or `Store.open` takes."""

    def copy(uri, path):
        return backend.copy(str(uri), None, path)[0]

    return copy


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real instruction data; see the `data` marker."""
    told = os.environ.get("INFLUENCE_STORE_TEST_DATA")
    folder = Path(told) if told else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: set INFLUENCE_STORE_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def small_llm(tmp_path_factory) -> Path:
    """The real small LLM as a transformers folder: $INFLUENCE_STORE_TEST_LLM, or from its wheel."""
    if told := os.environ.get("INFLUENCE_STORE_TEST_LLM"):
        return Path(told)
    from influence_store.demo.models import demo_llm
    from influence_store.errors import MissingExtra
    from influence_store.influence.gguf import converted
    from influence_store.settings import cache_dir

    try:
        gguf = demo_llm(cache_dir())
    except MissingExtra as error:
        pytest.skip(f"the small LLM is not installed: {error}")
    return converted(gguf, dtype="float32", cache=cache_dir())


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory) -> Path:
    """A random four-layer Llama of a few thousand weights: right in form, meaningless in value."""
    pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    return write_tiny_llm(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def tiny(tiny_llm):
    """The same, loaded."""
    from influence_store.influence.llm import load_llm

    return load_llm(tiny_llm, device="cpu")


@pytest.fixture(scope="session")
def small(small_llm):
    """The real small LLM, loaded."""
    from influence_store.influence.llm import load_llm

    return load_llm(small_llm, device="cpu")
