"""Values of options: what is taken, and what is said of others."""

import click
import pytest

from influence_store.options import Number, Size, Whole


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("8388608", 8 << 20), ("40MB", 40 << 20), ("1.5 GiB", 3 << 29)]
)
def test_a_size_is_said_in_bytes_or_with_a_unit(text, size):
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["0", "-1", "40 apples", "", "1e6", "4K"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match=r"is no size: .* such as 40MB"):
        Size().convert(text, None, None)


def test_a_word_is_no_number_rather_than_no_range():
    with pytest.raises(click.BadParameter, match=r"'three' is not a valid integer\.$"):
        Whole(min=1).convert("three", None, None)
    with pytest.raises(click.BadParameter, match=r"'x' is not a valid number\.$"):
        Number(min=0).convert("x", None, None)
    with pytest.raises(click.BadParameter, match="0 is not in the range x>=1"):
        Whole(min=1).convert("0", None, None)
