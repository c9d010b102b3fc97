"""The real small embedder from its wheel, and a tiny random one to take apart."""

from __future__ import annotations

import shutil

import pytest

from influence_store.demo.models import demo_embedder
from influence_store.embedding.onnx import OnnxEmbedder
from influence_store.errors import MissingExtra
from influence_store.settings import cache_dir

WORDS = ["a", "add", "and", "answer", "apple", "bread", "##s", "is", "number", "one", "sum", "two"]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def minilm_folder():
    try:
        return demo_embedder(cache_dir())
    except MissingExtra as error:
        pytest.skip(f"the small embedder is not installed: {error}")


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    """all-MiniLM-L6-v2, converted to ONNX once per machine."""
    pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    return OnnxEmbedder(minilm_folder, cache=cache_dir(), threads=2)


@pytest.fixture(scope="session")
def _tiny_bert(tmp_path_factory):
    """A random one-layer BERT in a sentence-transformers folder: right in form only."""
    torch = pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    vocabulary = {word: k for k, word in enumerate([*MARKS, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    return folder


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory):
    """Shared by the tests that need a converted tiny model, but not the conversion."""
    return tmp_path_factory.mktemp("tiny-cache")


@pytest.fixture
def tiny(_tiny_bert, tmp_path):
    """A copy of the tiny model, for one test to change."""
    return shutil.copytree(_tiny_bert, tmp_path / "tiny-bert")
