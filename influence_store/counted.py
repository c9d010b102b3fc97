"""How is a count said? One row, two rows: every sentence that counts something asks here."""

from __future__ import annotations

_HISSING = ("s", "x", "ch", "sh")


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2 rows`, `1,284 rows`: thousands apart, the noun in its number.

    `one` may be a phrase whose last word is the noun, as in `LLM pass`; give `many` where its
    plural is no regular one, or where a verb follows: `counted(n, "row is", "rows are")`.
    """
    return f"{count:,} {one if count == 1 else many or _plural(one)}"


def agree(count: int, one: str, many: str) -> str:
    """`one` for a single thing, else `many`: for a verb that stands apart from its noun."""
    return one if count == 1 else many


def _plural(noun: str) -> str:
    if noun.endswith(_HISSING):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
