"""Shared fixtures: a fresh store, a tiny LLM for speed, the real small one for truth."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_llm import write_tiny_llm

from influence_store.version import __version__


@pytest.fixture
def store(tmp_path):
    from influence_store.store.store import Store

    made, _ = Store.init(tmp_path / "store", __version__)
    yield made
    made.database.close()


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
