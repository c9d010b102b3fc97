"""The embedder without a model."""

from __future__ import annotations

from hashlib import blake2b
from math import log

import numpy as np
import pytest

from influence_store.embedding.hashing import HashingEmbedder


def test_vector_is_the_signed_hash_of_words_and_pairs():
    dim = 64
    terms = {"tea": 1 + log(2), " tea": 1.0, "tea tea": 1.0, "tea ": 1.0}
    expected = np.zeros(dim)
    for term, weight in terms.items():
        code = int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "big")
        expected[(code >> 1) % dim] += weight if code & 1 else -weight
    expected /= np.linalg.norm(expected)
    found = HashingEmbedder(dim).encode(["Tea  TEA"]).vectors[0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_shared_words_make_texts_close_and_meaning_does_not():
    query, same_words, same_meaning = (
        HashingEmbedder(512)
        .encode(["the big dog sleeps", "the big dog barks", "a large hound slumbers"])
        .vectors
    )
    assert query @ same_words > 0.4
    assert abs(query @ same_meaning) < 0.2


def test_composed_and_decomposed_letters_are_one_word():
    composed, decomposed = HashingEmbedder().encode(["caf\u00e9", "cafe\u0301"]).vectors
    assert (composed == decomposed).all()


def test_empty_text_has_a_vector():
    assert np.linalg.norm(HashingEmbedder().encode([""]).vectors) == pytest.approx(1)


def test_one_dimension_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        HashingEmbedder(1)
