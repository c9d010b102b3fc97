"""Shared fixtures: a fresh store, a tiny LLM for speed, the real small one for truth."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from influence_store.version import __version__

TINY_TEXT = [
    "What is two plus three? Five.",
    "Name a colour of the rainbow: red, orange, yellow, green, blue, indigo or violet.",
    "def add(a, b): return a + b",
    "The capital of France is Paris, and the capital of Peru is Lima.",
]


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
    """A random two-layer Llama with a tokenizer of its own: right in form, meaningless in value."""
    torch = pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-llm")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TINY_TEXT, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=0,
        bos_token_id=None,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
