from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.influence.el2n import El2nToken
from influence_store.influence.ifd import Ifd
from influence_store.influence.perplexity import Perplexity
from influence_store.influence.prompts import DELIFT_TEMPLATE
from influence_store.influence.pvi import PviZeroShot
from influence_store.influence.response_pass import score_together
from influence_store.protocols import Ledger
from influence_store.schema.sample import Sample

FOUR = (Perplexity, Ifd, PviZeroShot, El2nToken)
SAMPLES = [
    Sample.of("Why?", "Because."),
    Sample.of("Name a colour.", "Green is one, and so is yellow."),
    Sample.of("Say nothing.", ""),
    Sample.of("x" * 600, "too long"),
    Sample.of("3 + 4?", "7"),
    Sample.of("A longer question with more words in it?", "ok, a longer answer then"),
]
SCORED = [0, 1, 4, 5]


def plain_forward(llm, sample, *, cut=None):
    """Gold log p and Σ p² with the prompt, and gold log p without, by an ordinary forward."""
    import torch

    def ids(text):
        return llm.tokenizer(text, add_special_tokens=False)["input_ids"]

    prompt = [*ids(DELIFT_TEMPLATE.alone.format(prompt=sample.prompt)), llm.eos_id]
    response = ([*ids(sample.response), llm.eos_id])[:cut]

    def after(context):
        with torch.inference_mode():
            logits = llm.model(torch.tensor([context + response])).logits[0].double()
        logp = logits.log_softmax(-1)[len(context) - 1 : -1]
        gold = logp[torch.arange(len(response)), torch.tensor(response)]
        return gold.numpy(), logp.exp().square().sum(-1).numpy()

    given, squares = after(prompt)
    return given, squares, after([llm.eos_id])[0]


def expected(llm, sample, *, cut=None):
    """Every output of the four methods from its definition."""
    given, squares, alone = plain_forward(llm, sample, cut=cut)
    errors = np.sqrt(squares - 2 * np.exp(given) + 1)
    ratio = np.exp(-given.mean()) / np.exp(-alone.mean())
    bits = (given - alone).sum() / np.log(2)
    return {
        "perplexity": np.exp(-given.mean()),
        "perplexity-nll": -given.mean(),
        "ifd": ratio,
        "ifd-below-1": ratio if ratio < 1 else np.nan,
        "pvi-zero-shot": bits,
        "pvi-zero-shot-per-token": bits / len(given),
        "el2n-token": errors.mean(),
        "el2n-token-max": errors.max(),
        "el2n-token-p90": np.quantile(errors, 0.9),
    }


def columns(points):
    """All outputs of several methods in one mapping."""
    return {output: column for one in points for output, column in one.values.items()}


@pytest.fixture(scope="module")
def together(tiny):
    return columns(score_together([method(tiny) for method in FOUR], SAMPLES))


def test_outputs_are_the_declared_ones_as_float64(tiny, together):
    assert list(together) == [output for method in FOUR for output in method.spec.outputs]
    assert {(column.dtype.name, len(column)) for column in together.values()} == {("float64", 6)}


@pytest.mark.parametrize("k", SCORED)
def test_values_are_those_of_a_plain_forward(tiny, together, k):
    for output, value in expected(tiny, SAMPLES[k]).items():
        assert together[output][k] == pytest.approx(value, rel=1e-4, nan_ok=True), output


def test_each_method_alone_gives_what_it_gives_in_company(tiny, together):
    for method in FOUR:
        for output, column in method(tiny).score(SAMPLES).values.items():
            np.testing.assert_allclose(column, together[output], rtol=1e-6)


def test_ifd_is_two_to_the_minus_pvi_per_token_on_an_llm(together):
    np.testing.assert_allclose(together["ifd"], 2 ** -together["pvi-zero-shot-per-token"])


@pytest.mark.parametrize("batch_tokens", [1, 40, 4000])
def test_batch_size_changes_no_value(tiny, together, batch_tokens):
    methods = [method(tiny, batch_tokens=batch_tokens) for method in FOUR]
    for output, column in columns(score_together(methods, SAMPLES)).items():
        np.testing.assert_allclose(column, together[output], rtol=2e-4)


def test_order_and_company_of_samples_change_no_value(tiny, together):
    order = np.random.default_rng(1).permutation(np.tile(np.arange(len(SAMPLES)), 12))
    assert len(order) > 64  # more than one chunk
    points = score_together([method(tiny) for method in FOUR], [SAMPLES[k] for k in order])
    for output, column in columns(points).items():
        np.testing.assert_allclose(column, together[output][order], rtol=2e-4)


@pytest.mark.parametrize("method", FOUR)
def test_too_long_and_empty_are_nan_for_two_reasons_and_cost_nothing(tiny, method):
    scorer = method(tiny)
    points = scorer.score(SAMPLES[2:4])
    assert all(np.isnan(column).all() for column in points.values.values())
    np.testing.assert_array_equal(points.truncated, [False, True])
    np.testing.assert_array_equal(points.n_tokens, [0, 0])
    assert scorer.ledger == Ledger()


def test_n_tokens_counts_the_scored_tokens_with_eos(tiny):
    points = Perplexity(tiny).score(SAMPLES)
    np.testing.assert_array_equal(
        points.n_tokens[SCORED], [len(SAMPLES[k].response) + 1 for k in SCORED]
    )


@pytest.mark.parametrize(
    ("methods", "dearest"), [(FOUR, Ifd), ((Perplexity, El2nToken), Perplexity)]
)
def test_methods_together_cost_what_the_dearest_costs(tiny, methods, dearest):
    ledger, alone = Ledger(), dearest(tiny)
    score_together([method(tiny, ledger=ledger) for method in methods], SAMPLES)
    alone.score(SAMPLES)
    assert ledger == alone.ledger
    assert ledger.llm_passes == len(SCORED) * (2 if dearest is Ifd else 1)


def test_ledger_counts_the_tokens_of_both_passes(tiny):
    method = Ifd(tiny)
    method.score(SAMPLES)
    contexts = [len(method.prompter.alone(SAMPLES[k])) for k in SCORED]
    responses = [len(method.prompter.response(SAMPLES[k])) for k in SCORED]
    # The last token is never read; alone, EOS stands where the context was.
    assert method.ledger.llm_tokens == sum(contexts) + 2 * sum(responses) - len(SCORED)


def test_first_ledger_is_charged_when_ledgers_differ(tiny):
    first, second = Perplexity(tiny), Ifd(tiny)
    score_together([first, second], SAMPLES)
    assert first.ledger.llm_passes == 2 * len(SCORED)
    assert second.ledger == Ledger()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_response_tokens": 3}, "max_response_tokens"),
        ({"template": replace(DELIFT_TEMPLATE, alone="Q: {prompt}\n")}, "template"),
        ({"template": replace(DELIFT_TEMPLATE, eos_after_response=False)}, "eos"),
    ],
)
def test_methods_that_read_differently_share_no_pass(tiny, change, named):
    with pytest.raises(ValueError, match=f"perplexity and ifd cannot share .* differ in {named};"):
        score_together([Perplexity(tiny), Ifd(tiny, **change)], SAMPLES)


def test_methods_of_two_llms_share_no_pass(tiny):
    other = replace(tiny, facts={**tiny.facts, "weights": "others"})
    with pytest.raises(ValueError, match="differ in llm;"):
        score_together([Perplexity(tiny), Ifd(other)], SAMPLES)


def test_no_method_is_refused_and_no_sample_is_not(tiny):
    with pytest.raises(ValueError, match="no method"):
        score_together([], SAMPLES)
    assert len(Ifd(tiny).score([]).values["ifd"]) == 0


def test_cut_scores_the_head_of_the_response_in_both_passes(tiny):
    methods = [method(tiny, max_response_tokens=3) for method in FOUR]
    points = score_together(methods, SAMPLES)
    for output, value in expected(tiny, SAMPLES[1], cut=3).items():
        assert columns(points)[output][1] == pytest.approx(value, rel=1e-4, nan_ok=True), output
    assert points[0].n_tokens[1] == 3


def test_facts_tell_methods_models_templates_and_cuts_apart(tiny):
    all_facts = [
        *(method(tiny).facts for method in FOUR),
        Ifd(tiny, max_response_tokens=3).facts,
        Ifd(tiny, template=replace(DELIFT_TEMPLATE, alone="Q: {prompt}\n")).facts,
        Ifd(replace(tiny, facts={**tiny.facts, "max_len": 100})).facts,
    ]
    assert all(a != b for k, a in enumerate(all_facts) for b in all_facts[:k])
    assert Ifd(tiny, batch_tokens=7).facts == Ifd(tiny).facts
    assert Ifd(tiny).facts["no_prompt"] == "eos"


def test_tokenizer_without_eos_is_refused_before_any_pass(tiny):
    bare = replace(tiny, eos_id=None)
    plain = replace(DELIFT_TEMPLATE, eos_after_prompt=False, eos_after_response=False)
    assert np.isfinite(Perplexity(bare, template=plain).score(SAMPLES[:1]).values["perplexity"])
    with pytest.raises(Incompatible, match="ifd puts it before a response"):
        Ifd(bare, template=plain)


@pytest.mark.llm
def test_values_on_a_real_llm_are_those_of_a_plain_forward(small, short_samples):
    samples = short_samples[:6]
    got = columns(score_together([method(small) for method in FOUR], samples))
    for k, sample in enumerate(samples):
        for output, value in expected(small, sample).items():
            assert got[output][k] == pytest.approx(value, rel=2e-3, nan_ok=True), output
    # The wrong response to a prompt is harder and tells fewer bits than its own.
    swapped = [
        Sample.of(a.prompt, b.response)
        for a, b in zip(samples, [*samples[1:], samples[0]], strict=True)
    ]
    wrong = columns(score_together([Ifd(small), PviZeroShot(small)], swapped))
    assert np.median(wrong["ifd"]) > np.median(got["ifd"])
    assert np.median(wrong["pvi-zero-shot"]) < np.median(got["pvi-zero-shot"])
