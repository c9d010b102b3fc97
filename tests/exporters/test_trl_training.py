"""TRL takes every row of an export, puts the loss where it belongs, and trains on it."""

from __future__ import annotations

import json
import shutil

import pytest
from export_samples import ALL, MULTI, PLAIN, SYSTEM, exported, manifest_of
from trainers import tokenizer_of

datasets = pytest.importorskip("datasets", reason="pip install 'influence-store[trainers]'")
trl = pytest.importorskip("trl", reason="pip install 'influence-store[trainers]'")


# TRL sets an option that transformers renames.
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated")
ON_CPU = ("use_cpu=True", "bf16=False", "dataloader_pin_memory=False", "report_to='none'")


@pytest.fixture
def prepared(tmp_path, tiny_llm, datasets_cache):
    """What SFTTrainer itself makes of a dataset."""

    def prepare(told, **options):
        tokenizer = tokenizer_of(tiny_llm)
        args = trl.SFTConfig(
            output_dir=str(tmp_path / "run"), use_cpu=True, bf16=False, report_to="none",
            max_length=None, disable_tqdm=True, **options,
        )  # fmt: skip
        trainer = trl.SFTTrainer(
            str(tiny_llm), args=args, train_dataset=told, processing_class=tokenizer
        )
        return tokenizer, trainer.train_dataset

    return prepare


def trained_on(tokenizer, row):
    return tokenizer.decode([one for one in row["labels"] if one != -100])


@pytest.mark.parametrize("samples", [[PLAIN] * 3, ALL])
def test_trl_prepares_every_row_with_the_loss_on_the_response(tmp_path, prepared, samples):
    path = exported(tmp_path / "out", "trl", samples) / "train.jsonl"
    told = datasets.load_dataset("json", data_files=str(path), split="train")
    tokenizer, rows = prepared(told, completion_only_loss=True)
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        trained = trained_on(tokenizer, row)
        assert sample.response in trained
        assert sample.turns[0].text not in trained


@pytest.mark.parametrize("samples", [[PLAIN, MULTI, SYSTEM], ALL])
def test_trl_prepares_whole_conversations(tmp_path, prepared, samples):
    path = exported(tmp_path / "out", "trl-messages", samples) / "train.jsonl"
    told = datasets.load_dataset("json", data_files=str(path), split="train")
    tokenizer, rows = prepared(told)
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        text = trained_on(tokenizer, row)
        assert all(turn.text in text for turn in sample.turns)
        assert ("<tools>" in text) == bool(sample.tools)


def test_trl_prepares_the_hf_folder(tmp_path, prepared):
    told = datasets.load_dataset(str(exported(tmp_path / "out", "hf", ALL)), split="train")
    tokenizer, rows = prepared(told.select_columns(["messages", "tools"]))
    texts = [trained_on(tokenizer, row) for row in rows]
    assert [one.response in text for one, text in zip(ALL, texts, strict=True)] == [True] * len(ALL)


@pytest.mark.slow
def test_the_stanza_trains_as_it_stands(tmp_path, tiny_llm, datasets_cache, monkeypatch):
    out = exported(tmp_path / "out", "trl", ALL)
    tiny = shutil.copytree(tiny_llm, tmp_path / "model")
    tokenizer_of(tiny_llm).save_pretrained(tiny)
    usage = (out / manifest_of(out)["usage_file"]).read_text()
    # TRL's defaults want a GPU; nothing else is changed.
    usage = usage.replace("SFTConfig(", f"SFTConfig({', '.join(ON_CPU)}, ")
    monkeypatch.chdir(out)
    exec(compile(usage.replace("MODEL", str(tiny)), "usage.py", "exec"), {})
    (state,) = out.glob("trainer_output/checkpoint-*/trainer_state.json")
    assert json.loads(state.read_text())["global_step"] == 3  # epochs of one batch
    trained = next(out.glob("trainer_output/checkpoint-*")) / "model.safetensors"
    assert trained.read_bytes() != (tiny / "model.safetensors").read_bytes()
