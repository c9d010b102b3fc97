"""Which `--set NAME=VALUE` does a function take? Said before it is called, with those it knows."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

#: What the tool sets by itself.
_INNER = ("tile_bytes",)


def check_options(
    what: str, called: Callable[..., Any], options: Iterable[str], taken: int | Collection[str]
) -> None:
    """UsageError for an option that `called` does not have.

    `taken` are parameters that the caller fills: the first so many, or those of these names.
    """
    parameters = list(inspect.signature(called).parameters)
    names = parameters[:taken] if isinstance(taken, int) else taken
    known = sorted(set(parameters) - set(names) - set(_INNER))
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(
            f"{what} has no option {unknown[0]!r}",
            hint=f"say --set NAME=VALUE with one of: {', '.join(known)}"
            if known
            else "leave --set out",
        )
