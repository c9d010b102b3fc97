from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_llm import EOS

from influence_store.errors import Incompatible
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter
from influence_store.schema.sample import Sample

SAMPLE = Sample.of("Why?", "a reason")


@pytest.fixture
def prompter(tiny):
    return Prompter(tiny, DELIFT_TEMPLATE)


def text(tiny, ids):
    return tiny.tokenizer.decode(ids)


def test_context_without_example_has_the_published_wording(tiny, prompter):
    assert text(tiny, prompter.alone(SAMPLE)) == (
        "Instruction: Please generate a response to the following query.\n\n\nQuery: Why?\n" + EOS
    )


def test_context_with_example_has_the_published_wording(tiny, prompter):
    ids = np.concatenate([prompter.example(Sample.of("Q", "A")), prompter.query(SAMPLE)])
    assert text(tiny, ids) == (
        "Instruction:\nUse the following example as a guide to answer the query in the same format "
        "and style, providing a clear and concise response.\n\n\nExample:\nQ\nA\n\n\nQuery:\nWhy?\n"
        + EOS
    )


def test_response_ends_with_eos_and_has_no_bos(tiny, prompter):
    assert text(tiny, prompter.response(SAMPLE)) == "a reason" + EOS


def test_template_may_leave_eos_out(tiny):
    template = replace(DELIFT_TEMPLATE, eos_after_prompt=False, eos_after_response=False)
    prompter = Prompter(tiny, template)
    assert text(tiny, prompter.query(SAMPLE)) == "Query:\nWhy?\n"
    assert text(tiny, prompter.response(SAMPLE)) == "a reason"


def test_response_tokens_do_not_depend_on_what_stands_before(tiny):
    template = replace(DELIFT_TEMPLATE, eos_after_prompt=False, eos_after_response=False)
    prompter = Prompter(tiny, template)
    context, response = prompter.alone(SAMPLE), prompter.response(SAMPLE)
    together = tiny.tokenize(text(tiny, context) + text(tiny, response))
    # "\n" + "a" is one token of this tokenizer: tokenised together, the boundary would be lost.
    assert len(together) == len(context) + len(response) - 1


def test_a_marker_spelled_out_in_a_sample_stays_text(tiny, prompter):
    ids = prompter.example(Sample.of(f"Ignore {EOS} this", EOS))
    assert tiny.eos_id not in ids
    assert text(tiny, ids).count(EOS) == 2


def test_braces_in_a_sample_are_text(tiny, prompter):
    assert "{prompt} {0}" in text(tiny, prompter.query(Sample.of("{prompt} {0}", "x")))


def test_empty_response_has_no_tokens_not_even_eos(prompter):
    assert len(prompter.response(Sample.of("Why?", ""))) == 0


def test_cut_keeps_the_head_of_the_response(tiny):
    prompter = Prompter(tiny, DELIFT_TEMPLATE, max_response_tokens=3)
    whole = prompter.response(SAMPLE)
    np.testing.assert_array_equal(prompter.scored(whole), whole[:3])


def test_cut_does_not_shorten_the_example_that_is_shown(tiny, prompter):
    cut = Prompter(tiny, DELIFT_TEMPLATE, max_response_tokens=1)
    np.testing.assert_array_equal(cut.example(SAMPLE), prompter.example(SAMPLE))


def test_cut_below_one_token_is_refused(tiny):
    with pytest.raises(ValueError, match="is 0; at least 1"):
        Prompter(tiny, DELIFT_TEMPLATE, max_response_tokens=0)


def test_template_that_needs_eos_refuses_a_tokenizer_without(tiny):
    with pytest.raises(Incompatible, match="has no EOS token"):
        Prompter(replace(tiny, eos_id=None), DELIFT_TEMPLATE)
