from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from tiny_gguf import write_tiny_gguf
from tiny_llm import write_tiny_llm

from influence_store.errors import (
    Incompatible,
    InputError,
    NotFound,
    StorageError,
    UsageError,
)
from influence_store.influence.llm import load_llm


@pytest.fixture
def folder(tiny_llm, tmp_path):
    return Path(shutil.copytree(tiny_llm, tmp_path / "copy"))


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_facts_are_those_of_the_content_not_of_the_place(tiny, folder):
    assert load_llm(folder, device="cpu").facts == tiny.facts


def test_facts_do_not_name_the_device_and_know_dtype_and_limit(tiny):
    assert set(tiny.facts) == {"weights", "config", "tokenizer", "dtype", "max_len"}
    assert (tiny.facts["dtype"], tiny.facts["max_len"]) == ("float32", 512)


def test_other_weights_have_other_facts(tiny, tmp_path):
    other = load_llm(write_tiny_llm(tmp_path / "other", seed=1), device="cpu")
    assert other.facts["weights"] != tiny.facts["weights"]
    assert other.facts["config"] == tiny.facts["config"]


def test_a_setting_that_computes_changes_the_facts(tiny, folder):
    edit_config(folder, rms_norm_eps=1e-3)
    assert load_llm(folder, device="cpu").facts["config"] != tiny.facts["config"]


def test_who_wrote_the_config_does_not_change_the_facts(tiny, folder):
    edit_config(folder, transformers_version="5.99", _name_or_path="elsewhere")
    assert load_llm(folder, device="cpu").facts["config"] == tiny.facts["config"]


def test_dtype_is_that_of_the_weights_and_part_of_the_facts(folder):
    llm = load_llm(folder, dtype="bfloat16", device="cpu")
    assert llm.model.dtype == torch.bfloat16
    assert llm.facts["dtype"] == "bfloat16"


def test_unknown_dtype_is_refused_with_the_known_ones(folder):
    with pytest.raises(UsageError, match="float32, bfloat16"):
        load_llm(folder, dtype="int4")


@pytest.mark.parametrize("limit", [1, 513])
def test_limit_outside_what_the_model_can_is_refused(folder, limit):
    with pytest.raises(UsageError, match=f"max_len is {limit}; possible are 2 to 512"):
        load_llm(folder, max_len=limit)


def test_missing_weight_is_an_error_not_a_random_number(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weight .* model\.layers\.2\.mlp\.up_proj"):
        load_llm(folder)


def test_tokenizer_of_a_bigger_model_is_refused(tiny, folder):
    tokenizer = load_llm(folder, device="cpu").tokenizer
    tokenizer.add_tokens(["entirely", "new"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(Incompatible, match="has 260 tokens, the model knows 258"):
        load_llm(folder)


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="can run code"):
        load_llm(folder)


def test_code_that_comes_with_a_model_is_not_run(folder, tmp_path):
    trace = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\n")
    edit_config(
        folder, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    )
    with pytest.raises(Incompatible, match="cannot load"):
        load_llm(folder)
    assert not trace.exists()


def test_path_that_does_not_exist_is_not_taken_for_a_hub_id():
    with pytest.raises(NotFound, match=r"no file or folder \./nowhere/at/all"):
        load_llm("./nowhere/at/all")


def test_hub_id_without_network_says_what_to_check(monkeypatch):
    # huggingface_hub reads its own offline switch once, at import.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StorageError, match="nobody/nothing is neither a folder here"):
        load_llm("nobody/nothing")


def test_folder_without_a_model_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"neither config\.json nor \.gguf"):
        load_llm(tmp_path)


def test_folder_with_two_gguf_files_asks_for_one(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"2 \.gguf files"):
        load_llm(tmp_path, cache=tmp_path)


def test_other_file_is_refused(folder):
    with pytest.raises(InputError, match=r"not \.gguf"):
        load_llm(folder / "model.safetensors")


def test_gguf_without_a_cache_folder_is_refused_before_work(tmp_path):
    (tmp_path / "model.gguf").touch()
    with pytest.raises(UsageError, match="no cache folder"):
        load_llm(tmp_path / "model.gguf")


def test_damaged_gguf_is_an_input_error_and_leaves_no_folder(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF but not really")
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=r"cannot read .*model\.gguf"):
        load_llm(tmp_path / "model.gguf", cache=cache)
    assert not list(cache.glob("*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_that_is_not_there_is_said_out_loud(folder, caplog):
    with caplog.at_level(logging.WARNING):
        llm = load_llm(folder, device="cuda")
    assert llm.device == "cpu"
    assert "asked for cuda" in caplog.text


def test_gguf_is_dequantised_once_and_then_an_ordinary_folder(tiny, tiny_llm, tmp_path, caplog):
    pytest.importorskip("gguf", reason="the train extra is not installed")
    caplog.set_level(logging.INFO, logger="influence_store")
    cache, own = tmp_path / "cache", tmp_path / "own"
    own.mkdir()
    file = write_tiny_gguf(tiny_llm, own / "model.gguf")
    first = load_llm(file, cache=cache, device="cpu")
    (folder,) = cache.iterdir()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    again = load_llm(file.parent, cache=cache, device="cpu")
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert caplog.text.count("dequantising") == 1
    assert first.facts == again.facts == load_llm(folder, device="cpu").facts

    assert list(first.tokenize("say a\nb")) == list(tiny.tokenize("say a\nb"))
    for name, weight in tiny.model.state_dict().items():
        # Half a step of largest / 127 is lost by rounding, a tenth of that as the step has 16 bits.
        lost = (first.model.state_dict()[name] - weight).abs().max()
        assert lost <= weight.abs().max() / 220, name
