"""What an address may ask for: numbers within limits, texts of a length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from fastapi import Request

LONGEST_TEXT = 200
_MOST_DIGITS = 7


def whole(request: Request, name: str, default: int, *, least: int = 1, most: int) -> int:
    """A whole number of the query; UsageError says the limits."""
    told = request.query_params.get(name, "")
    if not told:
        return default
    if told.isascii() and told.isdecimal() and len(told) <= _MOST_DIGITS:
        value = int(told)
        if least <= value <= most:
            return value
    raise UsageError(f"{name} must be a whole number from {least:,} to {most:,}")


def words(request: Request, name: str) -> str:
    """A text of the query, without blanks around it; UsageError if it is too long."""
    told = request.query_params.get(name, "").strip()
    if len(told) > LONGEST_TEXT:
        raise UsageError(f"{name} has {len(told):,} characters; at most {LONGEST_TEXT} are read")
    return told
