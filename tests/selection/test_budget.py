from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.errors import UsageError
from influence_store.selection.budget import Amount, Budget, budget_count, parse_budget

digits = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,6})?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "n", "count"),
    [
        ("500", 8_500, 500),
        ("8500", 8_500, 8_500),
        ("1", 1, 1),
        (" 10 ", 100, 10),
        ("10%", 8_500, 850),
        ("10 %", 8_500, 850),
        ("100%", 7, 7),
        ("33.4%", 1_000, 334),
        (".5%", 1_000, 5),
    ],
)
def test_a_budget_is_a_count_or_a_share(text, n, count):
    assert budget_count(text, n) == count


def test_a_share_is_rounded_down():
    assert budget_count("10%", 19) == 1


@pytest.mark.parametrize("share", range(1, 101))
def test_a_share_of_a_hundred_is_exact(share):
    # int(100 * 0.29) is 28
    assert budget_count(f"{share}%", 100) == share


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "budget 0 of 50 samples is less than one"),
        ("0%", "budget 0% of 50 samples is less than one"),
        ("1%", "budget 1% of 50 samples is less than one"),
        ("-5", "budget -5 allows no sample"),
        ("0.0", "budget 0.0 allows no sample"),
        ("1.5", "budget 1.5 is not a whole number of samples"),
        ("1e3", "budget 1e3 is not a whole number of samples"),
        ("0.1", "budget 0.1 is neither a count nor a share"),
        ("-10%", "'-10%' is not a budget"),
        ("nan", "'nan' is not a budget"),
        ("inf%", "'inf%' is not a budget"),
        ("", "'' is not a budget"),
        ("1,000", "'1,000' is not a budget"),
        ("５", "'５' is not a budget"),
        ("10minutes", "'10minutes' is not a budget"),
        ("tokens", "'tokens' is not a budget"),
        ("200q-tokens", "'200q-tokens' is not a budget"),
        ("-5-tokens", "'-5-tokens' is not a budget"),
        ("10%-tokens", "'10%-tokens' is not a budget"),
        ("automatic", "'automatic' is not a budget"),
        ("0-tokens", "budget 0-tokens allows no token"),
        ("0.0004k-tokens", "budget 0.0004k-tokens allows no token"),
        ("200k-tokens", "budget 200k-tokens does not count samples"),
        ("auto", "budget auto does not count samples"),
        ("51", "budget 51 asks for 51 of 50 samples"),
        ("102%", "budget 102% asks for 51 of 50 samples"),
    ],
)
def test_anything_else_is_refused_with_what_it_was(text, message):
    with pytest.raises(UsageError) as refused:
        budget_count(text, 50)
    assert str(refused.value).startswith(message)
    assert "--budget" in refused.value.hint


def test_a_fraction_is_answered_with_the_share_it_probably_means():
    with pytest.raises(UsageError, match=r"--budget 10%$"):
        budget_count("0.1", 50)


def test_too_much_is_answered_with_the_way_to_take_all():
    with pytest.raises(UsageError, match="--budget 100%"):
        budget_count("600", 500)


def test_nothing_can_be_selected_from_nothing():
    with pytest.raises(UsageError, match="no sample to select from"):
        budget_count("10%", 0)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("200k-tokens", 200_000),
        ("1.5M-tokens", 1_500_000),
        ("2B-tokens", 2_000_000_000),
        ("800-tokens", 800),
        (" 1-token ", 1),
        ("3k tok", 3_000),
        ("3ktokens", 3_000),
        (".5k-tokens", 500),
        ("0.0015k-tokens", 1),
        ("1.001k-tokens", 1_001),  # 1.001 * 1000 is 1000.9999999999999
    ],
)
def test_a_budget_may_count_tokens(text, tokens):
    assert parse_budget(text) == Budget(text.strip(), tokens=tokens)


@given(digits, st.sampled_from(["", "k", "K", "m", "M", "b", "B"]))
def test_tokens_are_the_number_written_without_rounding_errors(number, unit):
    written = Fraction(number) * {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}[unit.lower()]
    text = f"{number}{unit}-tokens"
    if written < 1:
        with pytest.raises(UsageError, match="allows no token"):
            parse_budget(text)
    else:
        assert parse_budget(text).tokens == math.floor(written)


@given(digits, st.integers(1, 10**12))
def test_a_share_is_the_largest_whole_number_below_and_the_smallest_above(percent, whole):
    amount = Amount.parse(f"{percent}%")
    low, high = amount.at_most(whole), amount.at_least(whole)
    exact = Fraction(percent) * whole
    assert 100 * low <= exact < 100 * (low + 1)
    assert 100 * (high - 1) < exact <= 100 * high


@given(st.text(max_size=12))
def test_any_text_is_a_budget_of_one_kind_or_refused(text):
    with suppress(UsageError):
        budget = parse_budget(text)
        assert (budget.samples is not None) + (budget.tokens is not None) + budget.auto == 1


def test_auto_is_neither_samples_nor_tokens():
    assert parse_budget("Auto") == Budget("Auto", auto=True)
    with pytest.raises(UsageError, match="does not count tokens"):
        parse_budget("auto").tokens_of(np.array([3, 4]))


def test_a_budget_of_tokens_must_buy_something_and_not_everything_twice():
    counts = np.array([30, 7, 12])
    assert parse_budget("7-tokens").tokens_of(counts) == 7
    assert parse_budget("49-tokens").tokens_of(counts) == 49
    with pytest.raises(UsageError, match="the shortest of 3 has 7 tokens"):
        parse_budget("6-tokens").tokens_of(counts)
    with pytest.raises(UsageError, match="asks for 50 of 49 tokens"):
        parse_budget("50-tokens").tokens_of(counts)
    with pytest.raises(UsageError, match="no sample to select from"):
        parse_budget("50-tokens").tokens_of(counts[:0])
