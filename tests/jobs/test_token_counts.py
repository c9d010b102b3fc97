from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from influence_store.errors import Incompatible, NotFound, StorageError, UsageError
from influence_store.jobs.ingest import ingest
from influence_store.jobs.samples import read_samples
from influence_store.jobs.token_counts import token_counts
from influence_store.schema.sample import Sample, Turn

PLAIN = [("one two three", "four"), ("five", "six seven"), ("eight", "nine ten")]


def words(folder, *, marker="<|im_start|>"):
    """A tokenizer with one token per word, which marks, cuts and pads unless told not to."""
    folder.mkdir()
    raw = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens([AddedToken(marker, normalized=False)])
    raw.post_processor = processors.TemplateProcessing(
        single=f"{marker} $A", special_tokens=[(marker, raw.token_to_id(marker))]
    )
    raw.enable_truncation(4)
    raw.enable_padding(length=4)
    raw.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def told(store, tmp_path):
    """Ingests records as the next version of `demo`."""

    def ingested(records, dataset="demo"):
        file = tmp_path / f"{dataset}.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        ingest(store, [str(file)], dataset)
        return store.version(dataset)

    return ingested


def rows(pairs):
    return [{"instruction": asked, "input": "", "output": answer} for asked, answer in pairs]


def token_runs(store):
    with store.database.read() as session:
        from sqlmodel import select

        from influence_store.schema.catalog import Run

        return list(session.exec(select(Run).where(Run.verb == "tokens")).all())


def test_a_sample_costs_its_words_its_roles_and_four_per_message(store, told, tmp_path):
    version = told(rows(PLAIN))
    found = token_counts(store, version, str(words(tmp_path / "words")))
    assert found.counts.tolist() == [4 + 2 * 5, 3 + 2 * 5, 3 + 2 * 5]
    assert (found.computed, found.reused) == (3, 0)
    assert found.facts()["total"] == 14 + 13 + 13


def test_every_message_counts_and_a_marker_in_a_text_is_text(store, told, tmp_path):
    messages = [
        {"role": "system", "content": "be brief now"},
        {"role": "user", "content": "a<|im_start|>b c"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e f"},
        {"role": "assistant", "content": "g"},
    ]
    tools = [{"type": "function", "function": {"name": "x"}}]
    version = told([{"messages": messages, "tools": tools}])
    _, [sample] = read_samples(store, version.bits)
    assert sample.tools
    said = [sample.system, sample.tools, *(turn.text for turn in sample.turns)]
    by_word = sum(len(text.split()) for text in said) + 5 * len(said)
    assert token_counts(store, version, str(words(tmp_path / "w"))).counts.tolist() == [by_word]


def test_counts_follow_the_sids_of_the_version(store, told, tmp_path):
    many = rows([(f"q {k} " + "x " * (k % 7), "a " * (k % 11) + str(k)) for k in range(60)])
    told(many[30:], "other")
    version = told(many)
    counts = token_counts(store, version, str(words(tmp_path / "words"))).counts
    _, samples = read_samples(store, version.bits)
    expected = [len(one.prompt.split()) + len(one.response.split()) + 10 for one in samples]
    assert counts.tolist() == expected
    assert len(set(expected)) > 5


def test_what_is_counted_once_is_not_counted_again(store, told, tmp_path, monkeypatch):
    where = str(words(tmp_path / "words"))
    version = told(rows(PLAIN))
    first = token_counts(store, version, where)
    # The file is all that the second call may look at.
    monkeypatch.setattr("influence_store.jobs.tokenizer.NamedTokenizer.open", None)
    monkeypatch.setattr("influence_store.jobs.token_counts.read_samples", None)
    again = token_counts(store, version, where)
    assert again.counts.tolist() == first.counts.tolist()
    assert (again.computed, again.reused) == (0, 3)
    assert len(token_runs(store)) == 1


def test_a_second_version_counts_its_new_rows_only(store, told, tmp_path):
    where = str(words(tmp_path / "words"))
    token_counts(store, told(rows(PLAIN)), where)
    second = told(rows([("a brand new question", "with an answer"), *PLAIN]))
    found = token_counts(store, second, where)
    assert (found.computed, found.reused) == (1, 3)
    blocks = store.blocks("tokens")
    assert [block.n_rows for block in blocks] == [3, 1]
    assert sorted(found.counts.tolist()) == sorted([14, 13, 13, 7 + 10])


def test_a_tokenizer_is_its_file_wherever_it_lies(store, told, tmp_path):
    version = told(rows(PLAIN))
    one = words(tmp_path / "one")
    moved = shutil.copytree(one, tmp_path / "moved")
    here = token_counts(store, version, str(one))
    for where in (moved, moved / "tokenizer.json"):
        there = token_counts(store, version, str(where))
        assert (there.fingerprint, there.computed) == (here.fingerprint, 0)
    other = token_counts(store, version, str(words(tmp_path / "other", marker="<s>")))
    assert other.fingerprint != here.fingerprint
    assert other.computed == 3


def test_without_a_name_the_last_tokenizer_counts_again(store, told, tmp_path):
    version = told(rows(PLAIN))
    stranger = told(rows([("q", "a")]), "stranger")
    first, second = words(tmp_path / "first"), words(tmp_path / "second", marker="<s>")
    token_counts(store, version, str(first))
    last = token_counts(store, version, str(second))
    token_counts(store, stranger, str(first))
    assert token_counts(store, version).fingerprint == last.fingerprint
    assert token_counts(store, version).tokenizer == str(second)


def test_a_tokenizer_named_from_one_folder_is_found_again_from_another(
    store, told, tmp_path, monkeypatch
):
    version = told(rows(PLAIN))
    words(tmp_path / "words")
    monkeypatch.chdir(tmp_path)
    token_counts(store, version, "words")
    monkeypatch.chdir("/")
    assert token_counts(store, version).reused == 3


@pytest.mark.parametrize("named", ["dataset", "sources"])
def test_without_a_name_the_model_that_was_asked_counts(store, told, tmp_path, named):
    version = told(rows(PLAIN))
    model = str(words(tmp_path / "model"))
    with store.claim("label", "label:x", {named: str(version), "model": model}):
        pass
    assert token_counts(store, version).tokenizer == model


def test_without_a_name_and_a_model_the_option_is_named(store, told):
    version = told(rows(PLAIN))
    with store.claim("label", "label:x", {"dataset": "another@1", "model": "m"}):
        pass
    with store.claim("label", "label:y", {"dataset": str(version)}):
        pass
    with pytest.raises(UsageError, match=r"no tokenizer is named.*\n.*--tokenizer"):
        token_counts(store, version)
    assert token_runs(store) == []


def test_what_is_no_tokenizer_is_refused_before_any_run(store, told, tmp_path):
    version = told(rows(PLAIN))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text('{"version": "1.0"}')
    for where, expected, message in [
        (tmp_path / "empty", NotFound, "holds no tokenizer.json"),
        (tmp_path / "gone" / "away", NotFound, "no tokenizer at"),
        (tmp_path / "broken", Incompatible, "is no tokenizer of the tokenizers library"),
    ]:
        with pytest.raises(expected, match=message):
            token_counts(store, version, str(where))
        assert token_runs(store) == []
    assert store.blocks("tokens") == []


def test_an_unreachable_hub_says_what_to_do_without_it(store, told, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StorageError, match=r"cannot be reached[\s\S]*--tokenizer"):
        token_counts(store, told(rows(PLAIN)), "nobody/no-such-model-anywhere")


@pytest.mark.llm
@pytest.mark.data
def test_real_texts_cost_what_chatml_with_a_real_tokenizer_costs(
    store, told, small_llm, data_folder
):
    texts = []
    for name in ("gsm8k_train", "alpaca_demo", "t0_50k"):
        with gzip.open(data_folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            texts += [json.loads(line) for line, _ in zip(file, range(150), strict=False)]
    version = told(texts)
    counts = token_counts(store, version, str(small_llm)).counts
    tokenizer = Tokenizer.from_file(str(small_llm / "tokenizer.json"))
    _, samples = read_samples(store, version.bits)
    assert counts.tolist() == [len(tokenizer.encode(chatml(one)).ids) for one in samples]
    assert np.ptp(counts) > 300


@pytest.mark.llm
def test_conversations_cost_what_the_models_own_template_makes_of_them(store, told, small_llm):
    jinja2 = pytest.importorskip("jinja2")
    said = [
        {"role": "system", "content": "You answer in one word."},
        {"role": "user", "content": "Is water wet?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Def f(x):\n\treturn x ** 2 — ok?"},
        {"role": "assistant", "content": "Nearly!"},
    ]
    found = token_counts(store, told([{"messages": said}]), str(small_llm)).counts
    template = jinja2.Template((small_llm / "chat_template.jinja").read_text(encoding="utf-8"))
    shown = template.render(messages=said, add_generation_prompt=False)
    tokenizer = Tokenizer.from_file(str(small_llm / "tokenizer.json"))
    assert found.tolist() == [len(tokenizer.encode(shown).ids)]


def chatml(sample: Sample) -> str:
    head = [Turn("system", sample.system)] if sample.system else []
    return "".join(
        f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n" for turn in [*head, *sample.turns]
    )
