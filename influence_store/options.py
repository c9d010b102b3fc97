"""Of which kinds are the values of options, and what is said of one that is none?"""

from __future__ import annotations

from typing import Any

import click

from influence_store.errors import UsageError


class Whole(click.IntRange):
    """A whole number within bounds; click calls `three` no valid "integer range"."""

    name = "integer"


class Number(click.FloatRange):
    """A number within bounds."""

    name = "number"


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Bytes, at least 1, as an int: `8388608`, `40MB`, `1.5 GiB`; units are powers of 1,024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes that `value` means; click's usage error otherwise."""
        from influence_store.selection.plan import parse_memory

        text = str(value).strip()
        try:
            size = int(text) if text.isdecimal() else parse_memory(text)
        except UsageError:
            size = 0
        if size < 1:
            self.fail(f"{value!r} is no size: say bytes, or from 1M on a size such as 40MB.")
        return size
