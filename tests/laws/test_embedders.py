"""What holds for every embedder, ours or a third party's."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from influence_store.demo.models import demo_embedder
from influence_store.embedding import EMBEDDERS, open_embedder
from influence_store.errors import MissingExtra
from influence_store.schema.identity import fingerprint
from influence_store.settings import cache_dir

TEXTS = ["", "one", "One plus one is two.", "print('hello')\n", "ü" * 40, "a b c " * 200]


@pytest.fixture(scope="module", params=sorted(EMBEDDERS.entries()))
def embedder(request):
    name = request.param
    if name == "hashing":
        return open_embedder(name, cache=cache_dir())
    needs = "torch" if name == "onnx" else name.replace("-", "_")
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    try:
        return open_embedder(f"{name}:{demo_embedder(cache_dir())}", cache=cache_dir())
    except MissingExtra as error:
        pytest.skip(str(error))


def test_vectors_are_unit_float32_in_the_order_of_the_texts(embedder):
    found = embedder.encode(TEXTS)
    assert found.vectors.shape == (len(TEXTS), embedder.dim)
    assert found.vectors.dtype == np.float32
    assert found.truncated.shape == (len(TEXTS),)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, found.vectors, strict=True):
        assert (embedder.encode([text]).vectors[0] == vector).all()


def test_order_and_neighbours_do_not_matter(embedder):
    together = embedder.encode(TEXTS)
    backwards = embedder.encode(TEXTS[::-1])
    assert (backwards.vectors[::-1] == together.vectors).all()
    assert (backwards.truncated[::-1] == together.truncated).all()


def test_no_texts_give_no_vectors(embedder):
    found = embedder.encode([])
    assert found.vectors.shape == (0, embedder.dim)
    assert found.truncated.shape == (0,)


def test_facts_can_be_fingerprinted_and_name_template_and_engine(embedder):
    assert len(fingerprint(embedder.facts)) == 32
    assert {"template", "engine"} <= set(embedder.facts)
    assert embedder.name
