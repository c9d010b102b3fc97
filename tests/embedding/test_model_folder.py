"""Settings read from a model folder; what cannot be honoured is refused."""

from __future__ import annotations

import json

import pytest

from influence_store.embedding.folder import read_folder
from influence_store.errors import Incompatible, NotFound


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "tokenizer.json", {})
    write(tmp_path, "1_Pooling/config.json", {"pooling_mode": "mean"})
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 256})
    return tmp_path


def write(folder, name, value):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "lasttoken"),
    ],
)
def test_old_and_new_pooling_files_are_read(folder, settings, pooling):
    write(folder, "1_Pooling/config.json", settings)
    assert read_folder(folder).pooling == pooling


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"pooling_mode": ["cls", "mean"]}, "cls \\+ mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean \\+ max"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_mean_tokens": False, "dim": 3}, "nothing"),
        ({"pooling_mode": "mean", "include_prompt": False}, "without the prompt"),
    ],
)
def test_other_poolings_are_refused_and_the_other_engine_is_named(folder, settings, found):
    write(folder, "1_Pooling/config.json", settings)
    with pytest.raises(Incompatible, match=found) as caught:
        read_folder(folder)
    assert f"--embedder sentence-transformers:{folder}" in str(caught.value)


def test_unknown_pooling_is_never_guessed(folder):
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(Incompatible, match=r"1_Pooling/config\.json"):
        read_folder(folder)


def test_a_layer_after_pooling_is_refused(folder):
    kinds = ["models.Transformer", "models.Pooling", "models.Dense", "models.Normalize"]
    write(folder, "modules.json", [{"type": f"sentence_transformers.{kind}"} for kind in kinds])
    with pytest.raises(Incompatible, match="Dense"):
        read_folder(folder)


def test_length_limit_is_the_pipelines_own_else_the_smallest_known(folder):
    write(folder, "config.json", {"max_position_embeddings": 514})
    write(folder, "tokenizer_config.json", {"model_max_length": 512})
    assert read_folder(folder).max_length == 256
    write(folder, "sentence_bert_config.json", {})
    assert read_folder(folder).max_length == 512
    write(folder, "tokenizer_config.json", {"model_max_length": 1e30})
    assert read_folder(folder).max_length == 514
    write(folder, "config.json", {})
    with pytest.raises(Incompatible, match="max_seq_length"):
        read_folder(folder)


def test_default_prompt_is_the_prefix(folder):
    assert read_folder(folder).prefix == ""
    prompts = {"prompts": {"query": "query: ", "doc": "passage: "}, "default_prompt_name": "doc"}
    write(folder, "config_sentence_transformers.json", prompts)
    assert read_folder(folder).prefix == "passage: "


def test_a_folder_without_tokenizer_names_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotFound, match=r"notes\.txt"):
        read_folder(tmp_path)


def test_broken_settings_name_the_file(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(Incompatible, match=r"config\.json is not JSON"):
        read_folder(folder)
