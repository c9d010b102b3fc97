"""The text of a sample that is embedded."""

from __future__ import annotations

import pytest

from influence_store.embedding import DEFAULT_TEMPLATE, embedding_text
from influence_store.errors import UsageError
from influence_store.schema.sample import Sample


def test_default_is_prompt_marker_answer():
    sample = Sample.of("What is 2 + 2?", "4")
    assert embedding_text(sample) == "What is 2 + 2?\n##Answer: 4"


def test_system_prompt_is_part_of_the_prompt():
    sample = Sample.of("Hello", "Hi", system="Be kind.")
    assert embedding_text(sample, "{prompt}") == "Be kind.\n\nHello"


def test_braces_in_a_sample_are_left_alone():
    sample = Sample.of("print('{response}') {0} {", "{prompt} }")
    assert embedding_text(sample, "{prompt}|{response}") == "print('{response}') {0} {|{prompt} }"


@pytest.mark.parametrize("template", ["{question}", "{prompt} {}", "no field", "{prompt.x} only"])
def test_template_with_an_unknown_field_or_none_is_refused(template):
    with pytest.raises(UsageError, match=r"\{prompt\} and \{response\}") as caught:
        embedding_text(Sample.of("a", "b"), template)
    assert repr(DEFAULT_TEMPLATE) in str(caught.value)
