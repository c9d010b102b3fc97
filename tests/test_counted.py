"""A count is said as people say it."""

import pytest

from influence_store.counted import agree, counted


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (1, ("row",), "1 row"),
        (0, ("row",), "0 rows"),
        (1284, ("LLM pass",), "1,284 LLM passes"),
        (2, ("category",), "2 categories"),
        (2, ("day",), "2 days"),
        (1, ("row is", "rows are"), "1 row is"),
        (3, ("row is", "rows are"), "3 rows are"),
    ],
)
def test_a_noun_stands_in_its_number(count, words, said):
    assert counted(count, *words) == said


def test_a_verb_apart_from_its_noun_agrees():
    assert [agree(n, "leaks", "leak") for n in (0, 1, 2)] == ["leak", "leaks", "leak"]
