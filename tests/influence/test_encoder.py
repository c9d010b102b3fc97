"""Loading a bidirectional encoder: what is refused, what is identity, how long a text may be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_encoder import write_tiny_encoder

from influence_store.errors import Incompatible, InputError, NotFound, UsageError
from influence_store.influence.encoder import is_encoder, load_encoder


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture
def folder(bert, tmp_path):
    return Path(shutil.copytree(bert, tmp_path / "copy"))


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, edit):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_facts_are_those_of_the_content_not_of_the_place(bert, folder):
    edit_config(folder, transformers_version="5.99", _name_or_path="elsewhere")
    first, second = load_encoder(bert, device="cpu"), load_encoder(folder, device="cpu")
    assert first.facts == second.facts
    assert set(first.facts) == {"weights", "config", "tokenizer", "max_len"}


def test_other_weights_and_other_settings_have_other_facts(bert, folder, tmp_path):
    facts = load_encoder(bert, device="cpu").facts
    other = load_encoder(write_tiny_encoder(tmp_path / "other", seed=1), device="cpu").facts
    assert {key for key in facts if facts[key] != other[key]} == {"weights"}
    edit_config(folder, layer_norm_eps=1e-3)
    other = load_encoder(folder, max_len=20, device="cpu").facts
    assert {key for key in facts if facts[key] != other[key]} == {"config", "max_len"}


def test_missing_weight_is_an_error_not_a_random_number(folder):
    edit_weights(folder, lambda weights: weights.pop("encoder.layer.1.output.dense.bias"))
    with pytest.raises(InputError, match=r"lacks 1 weight .* encoder\.layer\.1\.output"):
        load_encoder(folder)


def test_missing_pooler_is_no_loss_because_tokens_are_averaged(bert, folder):
    edit_weights(
        folder, lambda weights: [weights.pop(f"pooler.dense.{part}") for part in ("weight", "bias")]
    )
    ids = torch.tensor([[2, 10, 3]])
    with torch.inference_mode():
        whole, without = (
            load_encoder(where, device="cpu").model(ids).last_hidden_state
            for where in (bert, folder)
        )
    assert torch.equal(whole, without)


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="can run code"):
        load_encoder(folder)


def test_code_that_comes_with_a_model_is_not_run(folder, tmp_path):
    trace = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\n")
    edit_config(folder, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel": "own.M"})
    with pytest.raises(Incompatible, match="cannot load"):
        load_encoder(folder)
    assert not trace.exists()


def test_causal_lm_is_no_encoder(tiny_llm):
    with pytest.raises(Incompatible, match="is a llama model, not a bidirectional encoder"):
        load_encoder(tiny_llm)


def test_kind_of_model_is_told_by_its_config(bert, folder, tiny_llm, tmp_path):
    (folder / "model.safetensors").write_bytes(b"not read")
    assert is_encoder(bert)
    assert is_encoder(folder)
    assert not is_encoder(tiny_llm)
    edit_config(folder, is_decoder=True)
    assert not is_encoder(folder)
    (tmp_path / "model.gguf").touch()
    assert not is_encoder(tmp_path / "model.gguf")
    with pytest.raises(NotFound, match=r"no file or folder \./nowhere/at/all"):
        is_encoder("./nowhere/at/all")


def test_tokenizer_of_a_bigger_model_is_refused(bert, folder):
    tokenizer = load_encoder(bert, device="cpu").tokenizer
    tokenizer.add_tokens(["entirely", "new"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(Incompatible, match="has 31 tokens, the model knows 29"):
        load_encoder(folder)


def test_marker_in_a_text_stays_text(bert):
    encoder = load_encoder(bert, device="cpu")
    assert list(encoder.tokenize("")) == [2, 3]
    ids = list(encoder.tokenize("apple [SEP] pear"))
    assert (ids[0], ids[-1], ids.count(3)) == (2, 3, 1)


def test_long_text_is_not_cut(bert):
    encoder = load_encoder(bert, device="cpu")
    assert len(encoder.tokenize("apple " * 100)) == 102 > encoder.max_len == 32


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "distilbert", "electra"])
def test_limit_is_the_longest_text_the_model_can_number(kind, tmp_path):
    encoder = load_encoder(write_tiny_encoder(tmp_path / kind, kind), device="cpu")
    with torch.inference_mode():
        # Token 7 is no padding, which RoBERTa would not number.
        encoder.model(torch.full((1, encoder.max_len), 7))
        with pytest.raises((RuntimeError, IndexError)):
            encoder.model(torch.full((1, encoder.max_len + 1), 7))


@pytest.mark.parametrize("limit", [1, 33])
def test_limit_outside_what_the_model_can_is_refused(bert, limit):
    with pytest.raises(UsageError, match=f"max_len is {limit}; possible are 2 to 32"):
        load_encoder(bert, max_len=limit)


@pytest.mark.parametrize(
    ("kind", "block"), [("bert", "encoder.layer.1"), ("distilbert", "transformer.layer.1")]
)
def test_last_block_is_found_in_every_family(kind, block, tmp_path):
    encoder = load_encoder(write_tiny_encoder(tmp_path / kind, kind), device="cpu")
    assert encoder.last_block() == block


def test_encoder_with_shared_blocks_has_no_last_one(tmp_path):
    encoder = load_encoder(write_tiny_encoder(tmp_path / "albert", "albert"), device="cpu")
    with pytest.raises(Incompatible, match="keeps no list of its 2 blocks"):
        encoder.last_block()
