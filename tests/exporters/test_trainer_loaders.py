"""What the trainers' own loaders make of an export: every row, and nothing lost."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from export_samples import ALL, MULTI, ONE_CALL, PLAIN, TEXTS, TOOLS, TWO_CALLS, exported, rows_for
from trainers import axolotl, llama_factory, tokenizer_of

from influence_store.exporters.messages import plain_messages, turns_with_calls
from influence_store.schema.sample import Sample

datasets = pytest.importorskip("datasets", reason="pip install 'influence-store[trainers]'")


@pytest.fixture
def loaded(tmp_path, datasets_cache):
    """Writes samples in a form and has `datasets` read the file."""

    def load(form, samples):
        out = exported(tmp_path / "out", form, samples)
        told = datasets.load_dataset("json", data_files=str(out / "train.jsonl"), split="train")
        assert len(told) == len(samples)
        return out, told

    return load


@pytest.fixture
def converted(loaded):
    """What LLaMA-Factory makes of samples."""

    def convert(samples):
        out, told = loaded("llama-factory", samples)
        (attr,) = llama_factory("data.parser").get_dataset_list(["influence_store"], str(out))
        assert (out / attr.dataset_name).is_file()
        args = SimpleNamespace(
            streaming=False, preprocessing_num_workers=None, overwrite_cache=True, media_dir=""
        )
        training = SimpleNamespace(local_process_index=0)
        converter = llama_factory("data.converter")
        return list(converter.align_dataset(told, attr, args, training))

    return convert


@pytest.fixture
def tokenized(loaded, tiny_llm):
    """What axolotl makes of samples, configured by our stanza, with the tokenizer."""

    def tokenize(samples):
        out, told = loaded("axolotl", samples)
        yaml = pytest.importorskip("yaml")
        (stanza,) = yaml.safe_load((out / "axolotl.yaml").read_text())["datasets"]
        settings = axolotl("utils.dict").DictDefault(
            {"sequence_len": 4096, "train_on_inputs": False, "chat_template": "tokenizer_default"}
        )
        config = axolotl("utils.schemas.datasets").SFTDataset(**stanza)
        tokenizer = tokenizer_of(tiny_llm)
        strategy = axolotl("prompt_strategies.chat_template").load(tokenizer, settings, config)
        columns = told.column_names
        return tokenizer, told.map(strategy.tokenize_prompt, batched=True, remove_columns=columns)

    return tokenize


# --- datasets


def test_load_dataset_reads_the_hf_folder_and_only_its_data(tmp_path, datasets_cache):
    out = exported(tmp_path / "out", "hf", ALL)
    told = datasets.load_dataset(str(out))
    assert list(told) == ["train"]
    assert [row["response"] for row in told["train"]] == [one.response for one in ALL]
    assert [row["messages"] for row in told["train"]] == [plain_messages(one) for one in ALL]


def test_load_dataset_reads_the_parquet_file(tmp_path, datasets_cache):
    path = exported(tmp_path / "out", "parquet", ALL) / "train.parquet"
    told = datasets.load_dataset("parquet", data_files=str(path), split="train")
    assert told["prompt"] == [one.prompt for one in ALL]
    assert told["sample_id"] == [row.sample_id for row in rows_for(ALL)]


def test_load_dataset_reads_source_records(loaded):
    _, told = loaded("jsonl", ALL)
    assert told["messages"] == [plain_messages(one) for one in ALL]


@pytest.mark.parametrize(
    ("form", "name"), [("hf", "dataset"), ("parquet", "rows"), ("jsonl", "records")]
)
def test_the_stanza_loads_every_row_where_it_lies(
    tmp_path, datasets_cache, monkeypatch, form, name
):
    out = exported(tmp_path / "out", form, ALL)
    monkeypatch.chdir(out)
    told = {}
    exec(compile((out / "usage.py").read_text(), "usage.py", "exec"), told)
    assert len(told[name]) == len(ALL)


@pytest.mark.parametrize("form", ["trl", "trl-messages", "axolotl", "llama-factory"])
def test_types_hold_where_tools_come_late(loaded, form):
    # The loader settles the types after its first ten megabytes.
    _, told = loaded(form, [Sample.of("x" * 200_000, "y")] * 60 + [TWO_CALLS])
    assert "weather" in json.dumps(told[60])


# --- LLaMA-Factory


def test_llama_factory_converts_every_row(converted):
    rows = converted(ALL)
    for row, sample in zip(rows, ALL, strict=True):
        # The condition under which its supervised processor drops an example.
        assert len(row["_prompt"]) % 2 == 1
        assert len(row["_response"]) == 1
        assert row["_response"][0]["content"] == sample.response
        assert (row["_system"], row["_tools"]) == (sample.system, sample.tools)
    for row, sample in zip(rows, TEXTS, strict=False):
        said = [message["content"] for message in row["_prompt"]]
        assert said == [turn.text for turn in sample.turns[:-1]]


def test_llama_factory_writes_our_calls_in_a_models_own_words(converted):
    formatter = llama_factory("data.formatter")
    function = formatter.FunctionFormatter(slots=["{{content}}"], tool_format="qwen")
    declared = formatter.ToolFormatter(tool_format="qwen")
    for row, sample in zip(converted([ONE_CALL, TWO_CALLS]), (ONE_CALL, TWO_CALLS), strict=True):
        assert row["_prompt"][1]["role"] == "function"
        (text,) = function.apply(content=row["_prompt"][1]["content"])
        assert text.count('{"name": "weather", "arguments": {"town": ') == len(
            turns_with_calls(sample)[1].calls
        )
        assert "weather" in declared.apply(content=row["_tools"])[0]


def test_llama_factory_sees_the_same_in_our_openai_and_sharegpt_exports(tmp_path, converted):
    out = exported(tmp_path / "openai", "openai", [TWO_CALLS])
    parser, converter = llama_factory("data.parser"), llama_factory("data.converter")
    attr = parser.DatasetAttr(
        "file", "train.jsonl", "openai", tools="tools", messages="messages", role_tag="role",
        content_tag="content", user_tag="user", assistant_tag="assistant", observation_tag="tool",
    )  # fmt: skip
    record = json.loads((out / "train.jsonl").read_text())
    theirs = converter.OpenAIDatasetConverter(attr, SimpleNamespace(media_dir=""))(record)
    (ours,) = converted([TWO_CALLS])
    assert ours["_prompt"][2] == theirs["_prompt"][2]  # the joined answers
    assert [one["role"] for one in ours["_prompt"]] == [one["role"] for one in theirs["_prompt"]]
    assert ours["_response"] == theirs["_response"]
    assert json.loads(ours["_tools"]) == json.loads(theirs["_tools"]) == json.loads(TOOLS)


# --- axolotl


@pytest.mark.parametrize("samples", [TEXTS, ALL])
def test_axolotl_tokenizes_every_row_with_the_loss_on_the_answers(tokenized, samples):
    tokenizer, rows = tokenized(samples)
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        text = tokenizer.decode(row["input_ids"])
        said = [one.text for one in turns_with_calls(sample)]
        assert all(one in text for one in [*said, sample.system])
        assert ("<tools>" in text) == bool(sample.tools)
        trained = tokenizer.decode([one for one in row["labels"] if one != -100])
        assert sample.response in trained
        assert sample.turns[0].text not in trained


def test_axolotl_renders_calls_from_the_messages(tokenized):
    tokenizer, rows = tokenized([PLAIN, TWO_CALLS])
    assert '<call>weather({"town": "Ulm"})</call>' in tokenizer.decode(rows[1]["input_ids"])


def test_axolotl_accepts_the_stanza(tmp_path):
    yaml = pytest.importorskip("yaml")
    out = exported(tmp_path / "out", "axolotl", [MULTI])
    stanza = yaml.safe_load((out / "axolotl.yaml").read_text())
    config = axolotl("utils.schemas.datasets").SFTDataset(**stanza["datasets"][0])
    assert {key: getattr(config, key) for key in stanza["datasets"][0]} == stanza["datasets"][0]
    check = axolotl("utils.schemas.validation").DatasetValidationMixin
    assert check.deprecate_sharegpt_datasets(stanza["datasets"]) == stanza["datasets"]
