"""Words and their numbers: what counts as the same text, and what does not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.overlap.words import WordHashes, ngrams, normal_form, shingles, word_spans

TEXTS = st.lists(st.sampled_from(["red", "blue", "12", "Ärger", "ab"]), max_size=12).map(" ".join)


def words(text):
    return [span[0] for span in word_spans(text)]


def test_case_punctuation_and_spelling_of_unicode_do_not_make_another_word():
    assert words("Hello, WORLD! cafe\u0301") == words("hello world — café")


def test_every_character_of_a_script_without_spaces_is_a_word():
    assert words("GPT是什么?") == ["gpt", "是", "什", "么"]


def test_an_underscore_and_a_line_break_separate_words():
    assert words("my_name\nis") == ["my", "name", "is"]


def test_spans_stand_where_the_word_is_in_the_normal_form():
    text = "Die Straße, 3×!"
    for span in word_spans(text):
        assert normal_form(text)[span.start() : span.end()] == span[0]
    assert words(text) == ["die", "strasse", "3"]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_two_runs_have_one_number_exactly_if_they_are_the_same_words(text, n):
    split, numbers = words(text), ngrams(WordHashes()(text), n)
    runs = [tuple(split[k : k + n]) for k in range(len(split) - n + 1)]
    assert len(numbers) == len(runs)
    assert len(set(numbers.tolist())) == len(set(runs))
    for a in range(len(runs)):
        assert (numbers == numbers[a]).tolist() == [run == runs[a] for run in runs]


def test_the_order_of_words_matters():
    hashes = WordHashes()
    assert ngrams(hashes("a b"), 2) != ngrams(hashes("b a"), 2)


def test_a_text_shorter_than_the_run_is_one_run_and_an_empty_one_none():
    hashes = WordHashes()
    assert len(shingles(hashes("two words"), 3)) == 1
    assert len(shingles(hashes("?!"), 3)) == len(shingles(hashes(""), 3)) == 0


def test_shingles_are_ascending_and_each_once():
    found = shingles(WordHashes()("a b a b a b"), 2)
    assert len(found) == 2
    assert (np.diff(found.astype(object)) > 0).all()
