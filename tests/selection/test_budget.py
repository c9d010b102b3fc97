from __future__ import annotations

import pytest

from influence_store.errors import UsageError
from influence_store.selection.budget import budget_count


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
        ("200k-tokens", "budgets such as '200k-tokens' are not supported yet"),
        ("auto", "budgets such as 'auto' are not supported yet"),
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
