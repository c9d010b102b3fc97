"""The sentence-transformers engine, and that ONNX gives the same vectors."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from influence_store.embedding.sentence_transformers import SentenceTransformerEmbedder
from influence_store.errors import Incompatible, NotFound

pytest.importorskip(
    "sentence_transformers", reason="pip install 'influence-store[sentence-transformers]'"
)


@pytest.fixture(scope="module")
def peer(minilm_folder):
    return SentenceTransformerEmbedder(minilm_folder)


@pytest.mark.data
def test_onnx_and_sentence_transformers_agree_on_real_texts(minilm, peer, data_folder):
    with gzip.open(data_folder / "gsm8k_train.jsonl.gz") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(16), strict=False)]
    texts = [f"{row['instruction']}\n##Answer: {row['output']}" for row in rows]
    texts += ["", "word " * 500]
    ours, theirs = minilm.encode(texts), peer.encode(texts)
    cosines = (ours.vectors * theirs.vectors).sum(axis=1)
    assert cosines.min() >= 0.9999
    np.testing.assert_array_equal(ours.truncated, theirs.truncated)
    assert ours.truncated.any()
    assert not ours.truncated.all()


def test_prefix_is_put_before_the_text(minilm_folder, peer):
    prefixed = SentenceTransformerEmbedder(minilm_folder, prefix="query: ")
    found = prefixed.encode(["bread"]).vectors @ peer.encode(["query: bread"]).vectors.T
    assert found == pytest.approx(1, abs=1e-6)
    assert prefixed.facts != peer.facts


def test_folder_without_safetensors_is_refused(tmp_path):
    with pytest.raises(NotFound, match="safetensors"):
        SentenceTransformerEmbedder(tmp_path)


def test_required_gpu_that_is_missing_is_an_error(minilm_folder):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Incompatible, match="asked for a GPU"):
        SentenceTransformerEmbedder(minilm_folder, require_gpu=True)
