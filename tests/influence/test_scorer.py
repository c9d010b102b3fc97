from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_llm import write_tiny_llm

from influence_store.errors import Incompatible
from influence_store.influence.formulas import el2n_token
from influence_store.influence.llm import load_llm
from influence_store.influence.scorer import Request, ResponseScorer


def requests_of(sizes, *, vocabulary=250, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Request(rng.integers(0, vocabulary, n), rng.integers(0, vocabulary, t)) for n, t in sizes
    ]


def by_definition(llm, request):
    """Every logit of one unpadded row, then softmax in float64: (logp, sum_p2)."""
    ids = torch.from_numpy(np.concatenate([request.context, request.response]))[None]
    with torch.no_grad():
        logits = llm.model(ids).logits[0].double()
    p = torch.softmax(logits, dim=-1).numpy()
    at = np.arange(len(request.response)) + len(request.context) - 1
    return np.log(p[at, request.response]), (p[at] ** 2).sum(1)


SIZES = [(5, 3), (9, 1), (1, 4), (30, 12), (2, 25), (17, 17)]


@pytest.fixture(scope="module", params=["llama", "gpt2", "mistral", "gemma2"])
def llm(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    return load_llm(write_tiny_llm(folder, request.param), device="cpu")


def test_logp_and_sum_p2_are_those_of_the_definition(llm):
    requests = requests_of(SIZES)
    for request, stats in zip(
        requests, ResponseScorer(llm).score(requests, sum_p2=True), strict=True
    ):
        logp, sum_p2 = by_definition(llm, request)
        np.testing.assert_allclose(stats.logp, logp, atol=2e-5)
        np.testing.assert_allclose(stats.sum_p2, sum_p2, atol=1e-5)


def test_prefix_path_equals_the_plain_path(llm):
    requests = requests_of([*SIZES, (12, 8), (12, 8)])
    shared = requests_of([(40, 1)], seed=1)[0].context
    scorer = ResponseScorer(llm, batch_tokens=64)
    cached = scorer.score(requests, prefix=scorer.prefill(shared))
    plain = scorer.score(
        [Request(np.concatenate([shared, r.context]), r.response) for r in requests]
    )
    for a, b in zip(cached, plain, strict=True):
        np.testing.assert_allclose(a.logp, b.logp, atol=2e-5)


@pytest.mark.parametrize("with_prefix", [False, True])
def test_next_token_is_that_of_the_definition(llm, with_prefix):
    scorer = ResponseScorer(llm, batch_tokens=64)
    shared = requests_of([(40, 1)], seed=1)[0].context
    contexts = [request.context for request in requests_of(SIZES)]
    choices = np.array([3, 200, 17])
    prefix = scorer.prefill(shared) if with_prefix else None
    values = scorer.next_token(contexts, choices, prefix=prefix)
    for row, context in zip(values, contexts, strict=True):
        whole = np.concatenate([shared, context]) if with_prefix else context
        with torch.no_grad():
            logits = llm.model(torch.from_numpy(whole)[None]).logits[0, -1].double()
        np.testing.assert_allclose(row, torch.log_softmax(logits, -1)[choices], atol=2e-5)


def test_scoring_leaves_the_prefix_as_it_was(llm):
    scorer = ResponseScorer(llm)
    prefix = scorer.prefill(np.arange(20))
    before = copy.deepcopy(prefix.cache)
    first = scorer.score(requests_of(SIZES), prefix=prefix)
    again = scorer.score(requests_of(SIZES), prefix=prefix)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.logp, b.logp)
    for old, new in zip(before.layers, prefix.cache.layers, strict=True):
        assert torch.equal(old.keys, new.keys)
        assert torch.equal(old.values, new.values)


def test_order_and_batch_mates_do_not_change_a_value(llm):
    requests = requests_of([(3 + k % 11, 1 + k % 7) for k in range(40)])
    together = ResponseScorer(llm, batch_tokens=200).score(requests)
    order = np.random.default_rng(2).permutation(len(requests))
    shuffled = ResponseScorer(llm, batch_tokens=57).score([requests[k] for k in order])
    alone = [ResponseScorer(llm).score([request])[0] for request in requests]
    for place, k in enumerate(order):
        np.testing.assert_allclose(shuffled[place].logp, together[k].logp, atol=2e-5)
        np.testing.assert_allclose(alone[k].logp, together[k].logp, atol=2e-5)


def test_a_token_is_scored_by_what_stands_before_it_only(tiny):
    context, response = np.arange(6), np.array([7, 8, 9])
    changed = np.array([7, 8, 200])
    before, after = ResponseScorer(tiny).score(
        [Request(context, response), Request(context, changed)]
    )
    np.testing.assert_allclose(before.logp[:2], after.logp[:2], atol=1e-6)
    assert abs(before.logp[2] - after.logp[2]) > 1e-3


def test_vocabulary_projection_reads_response_positions_only(tiny):
    rows = []
    handle = tiny.model.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, output: rows.append(output.shape[0])
    )
    ResponseScorer(tiny).score(requests_of(SIZES))
    handle.remove()
    assert sum(rows) == sum(t for _, t in SIZES)


def test_el2n_from_two_numbers_equals_the_whole_vocabulary(tiny):
    (request,) = requests_of([(8, 5)])
    (stats,) = ResponseScorer(tiny).score([request], sum_p2=True)
    ids = torch.from_numpy(np.concatenate([request.context, request.response]))[None]
    with torch.no_grad():
        p = torch.softmax(tiny.model(ids).logits[0, 7:12].double(), -1).numpy()
    error = p - np.eye(p.shape[1])[request.response]
    np.testing.assert_allclose(
        el2n_token(stats.logp, stats.sum_p2), np.linalg.norm(error, axis=1), atol=1e-5
    )


def test_hidden_is_the_middle_layer_without_the_first_position(tiny):
    requests = requests_of([(8, 5), (20, 3)])
    for request, stats in zip(
        requests, ResponseScorer(tiny).score(requests, hidden=True), strict=True
    ):
        read = np.concatenate([request.context, request.response[:-1]])
        with torch.no_grad():
            states = tiny.model(torch.from_numpy(read)[None], output_hidden_states=True)
        expected = states.hidden_states[2][0, 1:].mean(0).numpy()
        np.testing.assert_allclose(stats.hidden, expected, atol=1e-5)


def test_request_at_the_limit_is_scored_and_one_longer_is_truncated(tiny):
    at, over = requests_of([(500, 12), (500, 13)])
    scored, left_out = ResponseScorer(tiny).score([at, over])
    assert len(scored.logp) == 12
    assert not scored.truncated
    assert len(left_out.logp) == 0
    assert left_out.truncated


def test_the_prefix_counts_towards_the_limit(tiny):
    scorer = ResponseScorer(tiny)
    prefix = scorer.prefill(np.zeros(400, np.int64))
    at, over = scorer.score(requests_of([(100, 12), (100, 13)]), prefix=prefix)
    assert (at.truncated, over.truncated) == (False, True)


def test_empty_response_is_not_run_and_not_truncated(tiny):
    scorer = ResponseScorer(tiny)
    (stats,) = scorer.score([Request(np.arange(3), np.zeros(0, np.int64))])
    assert len(stats.logp) == 0
    assert not stats.truncated
    assert scorer.ledger.llm_passes == 0


def test_next_token_needs_room_for_itself(tiny):
    scorer = ResponseScorer(tiny)
    values = scorer.next_token([np.zeros(511, np.int64), np.zeros(512, np.int64)], np.arange(2))
    np.testing.assert_array_equal(np.isnan(values), [[False, False], [True, True]])
    assert (scorer.ledger.llm_passes, scorer.ledger.llm_tokens) == (1, 511)


def test_next_token_after_nothing_is_refused(tiny):
    with pytest.raises(ValueError, match="context is empty"):
        ResponseScorer(tiny).next_token([np.zeros(0, np.int64)], np.arange(2))


def test_empty_context_is_refused(tiny):
    with pytest.raises(ValueError, match="context is empty"):
        ResponseScorer(tiny).score([Request(np.zeros(0, np.int64), np.arange(3))])


@pytest.mark.parametrize("length", [0, 513])
def test_prefix_outside_the_limit_is_refused(tiny, length):
    with pytest.raises(ValueError, match=f"512 tokens, this one {length}"):
        ResponseScorer(tiny).prefill(np.zeros(length, np.int64))


def test_hidden_after_a_prefix_is_refused(tiny):
    scorer = ResponseScorer(tiny)
    with pytest.raises(ValueError, match="without a prefix"):
        scorer.score(requests_of(SIZES), prefix=scorer.prefill(np.arange(3)), hidden=True)


def test_ledger_counts_a_prefill_and_every_request_without_padding(tiny):
    scorer = ResponseScorer(tiny, batch_tokens=50)
    scorer.score(requests_of(SIZES), prefix=scorer.prefill(np.arange(21)))
    assert scorer.ledger.llm_passes == 1 + len(SIZES)
    assert scorer.ledger.llm_tokens == 21 + sum(n + t - 1 for n, t in SIZES)


def test_a_batch_on_a_cpu_carries_at_most_16_tokens_of_padding(tiny):
    requests = requests_of([(3 + (7 * k) % 31, 1 + k % 5) for k in range(60)])
    widths = []
    handle = tiny.model.get_input_embeddings().register_forward_hook(
        lambda _module, inputs, _output: widths.append(inputs[0].shape)
    )
    ResponseScorer(tiny, batch_tokens=400).score(requests)
    handle.remove()
    lengths = iter(sorted(request.n_run for request in requests))
    for rows, width in widths:
        real = sum(next(lengths) for _ in range(rows))
        assert rows * width <= 400
        assert rows * width - real <= 16
    assert next(lengths, None) is None
    assert len(widths) < len(requests) / 3


def test_truncated_request_costs_nothing(tiny):
    scorer = ResponseScorer(tiny)
    scorer.score(requests_of([(600, 3)]))
    assert scorer.ledger.llm_tokens == 0


def test_overflowing_model_stops_the_run_instead_of_yielding_nan(tmp_path):
    llm = load_llm(write_tiny_llm(tmp_path / "llm"), device="cpu")
    llm.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(Incompatible, match="yields NaN in float32"):
        ResponseScorer(llm).score(requests_of(SIZES))
