from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from influence_store.influence.base import LlmState
from influence_store.influence.formulas import mean_logp, rms_miss
from influence_store.influence.scorer import Request, ResponseScorer
from influence_store.schema.sample import Sample

SAMPLES = [
    Sample.of("Why?", "Because."),
    Sample.of("Name a colour that is neither red nor blue.", "Green is one, and so is yellow."),
    Sample.of("Say nothing.", ""),
    Sample.of("long " * 120, "no"),
]


@pytest.fixture(scope="module")
def state(tiny):
    return LlmState(tiny).encode(SAMPLES)


def test_distance_and_loss_are_those_of_the_whole_response(tiny, state):
    producer = LlmState(tiny)
    for k in (0, 1):
        request = Request(
            producer.prompter.alone(SAMPLES[k]), producer.prompter.response(SAMPLES[k])
        )
        (stats,) = ResponseScorer(tiny).score([request])
        assert state.d0[k] == pytest.approx(rms_miss(stats.logp), abs=1e-6)
        assert state.nll[k] == pytest.approx(-mean_logp(stats.logp), abs=1e-5)


def test_what_was_not_measured_is_nan_with_its_reason(state):
    np.testing.assert_array_equal(state.empty, [False, False, True, False])
    np.testing.assert_array_equal(state.truncated, [False, False, False, True])
    for column in (state.nll, state.d0, state.hidden[:, 0]):
        np.testing.assert_array_equal(np.isnan(column), [False, False, True, True])


def test_token_counts_are_of_template_prompt_and_response(tiny, state):
    frame = len("Instruction: Please generate a response to the following query.\n\n\nQuery: \n")
    assert state.n_prompt_tokens[0] == frame + len("Why?") + 1
    assert state.n_response_tokens[0] == len("Because.") + 1
    assert state.n_response_tokens[2] == 0


def test_one_pass_per_sample_that_can_be_scored(tiny, state):
    producer = LlmState(tiny)
    producer.encode(SAMPLES)
    runs = state.n_prompt_tokens + state.n_scored_tokens - 1
    assert producer.ledger.llm_passes == 2
    assert producer.ledger.llm_tokens == runs[0] + runs[1]


def test_a_row_does_not_depend_on_the_other_rows(tiny, state):
    for k, sample in enumerate(SAMPLES):
        alone = LlmState(tiny).encode([sample])
        for one in fields(state):
            np.testing.assert_allclose(
                getattr(alone, one.name)[0], getattr(state, one.name)[k], atol=1e-5
            )


def test_cut_responses_are_counted_and_their_tail_is_not_run(tiny, state):
    producer = LlmState(tiny, max_response_tokens=4)
    cut = producer.encode(SAMPLES)
    np.testing.assert_array_equal(cut.cut, [True, True, False, False])
    np.testing.assert_array_equal(cut.n_response_tokens, state.n_response_tokens)
    assert producer.ledger.llm_tokens == cut.n_prompt_tokens[:2].sum() + 2 * 3


def test_cut_and_template_are_part_of_the_facts(tiny):
    assert LlmState(tiny).facts != LlmState(tiny, max_response_tokens=4).facts
    assert LlmState(tiny).facts["template"][0] == "delift-release"


def test_no_samples_give_no_rows(tiny):
    state = LlmState(tiny).encode([])
    assert len(state) == 0
    assert state.hidden.shape == (0, 32)
