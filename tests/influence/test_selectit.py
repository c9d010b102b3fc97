from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from influence_store.errors import Incompatible
from influence_store.influence.llm import load_llm
from influence_store.influence.selectit import (
    LAYOUT,
    RATING_PROMPTS,
    SelectIt,
    model_level,
    sentence_level,
    token_level,
)
from influence_store.schema.sample import Sample

SAMPLES = [
    Sample.of("Why?", "Because."),
    Sample.of("Name a colour.", "Green is one, and so is yellow."),
    Sample.of("Say nothing.", ""),
    Sample.of("3 + 4?", "7"),
    Sample.of("A longer question with more words in it?", "ok"),
]
USABLE = [0, 1, 3, 4]


@pytest.fixture(scope="module")
def rated(tiny):
    return SelectIt(tiny, k=3).score(SAMPLES)


def by_definition(llm, sample, prompts, digit_ids, alpha, *, twice=False):
    """One whole sequence per rating prompt, softmax over all the vocabulary, loops."""
    levels, tokens, masses = len(digit_ids), [], []
    for prompt in prompts:
        text = LAYOUT.format(prompt=sample.prompt, response=sample.response)
        ids = np.concatenate([llm.tokenize(prompt), llm.tokenize(text)])
        with torch.no_grad():
            logits = llm.model(torch.from_numpy(ids)[None]).logits[0, -1].double()
        p = torch.softmax(logits, -1).numpy()
        mass = [sum(p[token] for token in tokens_of_digit) for tokens_of_digit in digit_ids]
        share = [one / sum(mass) for one in mass]
        if twice:
            share = [np.exp(one) / sum(np.exp(other) for other in share) for one in share]
        base = max(range(levels), key=lambda place: share[place])
        spread = sum(abs(one - share[base]) for one in share) / (levels - 1)
        tokens.append((base + 1) * spread)
        masses.append(sum(mass))
    mean = sum(tokens) / len(tokens)
    std = (sum((one - mean) ** 2 for one in tokens) / len(tokens)) ** 0.5
    return mean / (1 + alpha * std), tokens[0], sum(masses) / len(masses)


# -- formulas --------------------------------------------------------------------------------

P = np.array([0.05, 0.05, 0.1, 0.2, 0.6])


@pytest.mark.parametrize(("variant", "expected"), [("paper", 2.5), ("code", 0.5718)])
def test_token_level_of_the_worked_example(variant, expected):
    assert token_level(P, variant) == pytest.approx(expected, abs=5e-5)
    assert token_level(0.01 * P, variant) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_a_model_that_cannot_tell_the_digits_apart_rates_zero(variant):
    assert token_level(np.full((2, 5), 0.2), variant) == pytest.approx([0, 0], abs=1e-15)


def test_certainty_of_the_best_digit_is_the_upper_end():
    sure = np.eye(5)[4]
    assert token_level(sure) == pytest.approx(5.0)
    assert token_level(sure, "code") == pytest.approx(5 * (np.e - 1) / (np.e + 4))
    assert token_level(sure, "code") == pytest.approx(1.2788, abs=5e-5)


def test_equally_likely_digits_give_the_lower_one():
    # Base 1: (0 + 0.4 + 0.4 + 0.2) / 3; base 2 would be twice that.
    assert token_level(np.array([0.4, 0.0, 0.4, 0.2])) == pytest.approx(1 * 0.6 / 3)


def test_no_probability_on_any_digit_is_nan_not_zero():
    values = token_level(np.stack([np.zeros(5), P]))
    np.testing.assert_array_equal(np.isnan(values), [True, False])


def test_sentence_level_of_the_worked_example():
    tokens = np.array([2.5, 2.0, 2.5, 3.0, 2.5])[:, None]
    assert sentence_level(tokens, 0.2) == pytest.approx([2.3513], abs=5e-5)
    assert sentence_level(tokens, 0.0) == pytest.approx([2.5])


def test_model_weights_are_shares_of_the_parameters_and_add_up_to_one():
    weights = model_level(np.eye(3), [7, 13, 70])
    np.testing.assert_allclose(weights, [7 / 90, 13 / 90, 70 / 90])
    assert weights.sum() == pytest.approx(1.0)


def test_model_level_is_nan_where_one_model_has_no_value():
    values = model_level(np.array([[1.0, np.nan], [3.0, 3.0]]), [1e9, 3e9])
    np.testing.assert_allclose(values, [2.5, np.nan])


@pytest.mark.parametrize("parameters", [[7, 13], [7, 0], [[7, 13, 70]]])
def test_model_level_wants_one_positive_count_for_each_model(parameters):
    with pytest.raises(ValueError, match="one positive count for each row"):
        model_level(np.ones((3 if parameters != [7, 0] else 2, 4)), parameters)


# -- with a model ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_values_are_those_of_the_definition(tiny, variant):
    method = SelectIt(tiny, k=3, alpha=0.7, levels=4, variant=variant)
    values = method.score(SAMPLES).values
    ids = [[int(tiny.tokenize(str(digit))[0])] for digit in range(1, 5)]
    prompts = [text.format(levels=4) for text in RATING_PROMPTS[:3]]
    for row in USABLE:
        expected = by_definition(tiny, SAMPLES[row], prompts, ids, 0.7, twice=variant == "code")
        got = [values[output][row] for output in method.spec.outputs]
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_sample_without_a_response_is_nan_and_costs_nothing(tiny, rated):
    assert all(np.isnan(column[2]) for column in rated.values.values())
    assert not rated.truncated[2]
    assert rated.n_tokens[2] == 0
    method = SelectIt(tiny)
    method.score([SAMPLES[2]])
    assert method.ledger.llm_passes == 0


def test_truncated_sample_is_nan_not_zero_and_costs_nothing(tiny):
    method = SelectIt(tiny, k=2)
    frame = len(tiny.tokenize(LAYOUT.format(prompt="", response="y")))
    room = tiny.max_len - max(len(tiny.tokenize(text)) for text in method.prompts) - frame - 1
    fits, too_long = Sample.of("x" * room, "y"), Sample.of("x" * (room + 1), "y")
    assert np.isfinite(method.score([fits]).values["selectit"]).all()
    before = method.ledger.facts()
    left_out = method.score([too_long])
    assert all(np.isnan(column[0]) for column in left_out.values.values())
    assert left_out.truncated[0]
    assert method.ledger.facts() == before


def test_no_samples_give_no_values_and_cost_nothing(tiny):
    method = SelectIt(tiny)
    assert [column.shape for column in method.score([]).values.values()] == [(0,)] * 3
    assert method.ledger.llm_passes == 0


def test_batch_mates_and_order_change_no_value(tiny, rated):
    order = [4, 2, 0, 3, 1]
    shuffled = SelectIt(tiny, k=3, batch_tokens=90).score([SAMPLES[k] for k in order])
    alone = [SelectIt(tiny, k=3).score([sample]) for sample in SAMPLES]
    for output, column in rated.values.items():
        np.testing.assert_allclose(shuffled.values[output], column[order], rtol=1e-4)
        np.testing.assert_allclose([one.values[output][0] for one in alone], column, rtol=1e-4)
    np.testing.assert_array_equal(shuffled.n_tokens, rated.n_tokens[order])


def test_each_rating_prompt_is_read_once_and_each_sample_once_per_prompt(tiny, rated):
    method = SelectIt(tiny, k=3)
    method.score(SAMPLES[:2])
    method.score(SAMPLES[3:])
    ratings = sum(len(tiny.tokenize(text)) for text in method.prompts)
    assert method.ledger.llm_passes == 3 + 3 * len(USABLE)
    assert method.ledger.llm_tokens == ratings + 3 * rated.n_tokens.sum()


def test_prompts_say_the_scale_they_ask_for():
    assert len(set(RATING_PROMPTS)) == 9
    assert all("{levels}" in text and "1" in text for text in RATING_PROMPTS)


def test_facts_know_everything_that_changes_a_value(tiny):
    others = [
        SelectIt(tiny, k=4),
        SelectIt(tiny, levels=4),
        SelectIt(tiny, alpha=0.3),
        SelectIt(tiny, variant="code"),
        SelectIt(replace(tiny, facts={**tiny.facts, "max_len": 100})),
    ]
    assert all(other.facts != SelectIt(tiny).facts for other in others)
    assert SelectIt(tiny, batch_tokens=7).facts == SelectIt(tiny).facts


@pytest.mark.parametrize(
    "bad", [{"k": 0}, {"k": 10}, {"levels": 1}, {"levels": 10}, {"alpha": -1}, {"variant": "both"}]
)
def test_settings_outside_their_range_are_refused(tiny, bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is"):
        SelectIt(tiny, **bad)


# -- digits ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spaced(tiny_llm, tmp_path_factory):
    """The tiny LLM with tokens for " 1" to " 5" besides those for "1" to "5"."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("spaced")
    model = AutoModelForCausalLM.from_pretrained(tiny_llm)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for digit in "12345":
        raw["model"]["vocab"][f"Ġ{digit}"] = len(raw["model"]["vocab"])
        raw["model"]["merges"].append(["Ġ", digit])
    path.write_text(json.dumps(raw), encoding="utf-8")
    model.resize_token_embeddings(len(tokenizer) + 5, mean_resizing=False)
    model.save_pretrained(folder)
    return load_llm(folder, device="cpu")


def test_digits_with_and_without_a_space_are_added_up(spaced):
    ids = [[int(spaced.tokenize(text)[0]) for text in (str(d), f" {d}")] for d in range(1, 6)]
    assert len(set(np.ravel(ids))) == 10
    method = SelectIt(spaced, k=1)
    values = method.score(SAMPLES[:2]).values
    for row in (0, 1):
        both = by_definition(spaced, SAMPLES[row], method.prompts, ids, 0.2)
        bare = by_definition(spaced, SAMPLES[row], method.prompts, [i[:1] for i in ids], 0.2)
        assert values["selectit"][row] == pytest.approx(both[0], rel=1e-4)
        assert values["selectit-digit-mass"][row] == pytest.approx(both[2], rel=1e-4)
        assert abs(both[2] - bare[2]) > 1e-4


def test_tokenizer_without_digit_tokens_is_refused(tiny):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "word": 1}, unk_token="[UNK]"))
    wordy = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    with pytest.raises(Incompatible, match="no single token for 1"):
        SelectIt(replace(tiny, tokenizer=wordy))


# -- the real thing --------------------------------------------------------------------------


@pytest.mark.llm
def test_shared_rating_prompt_equals_whole_sequences_of_a_real_llm(small, short_samples):
    method = SelectIt(small, k=2)
    samples = short_samples[:3]
    values = method.score(samples).values
    ids = [[int(token) for token in tokens] for tokens in method.digits]
    for row, sample in enumerate(samples):
        expected = by_definition(small, sample, method.prompts, ids, 0.2)
        got = [values[output][row] for output in method.spec.outputs]
        np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert np.ptp(values["selectit"]) > 1e-2
