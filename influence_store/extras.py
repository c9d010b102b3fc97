"""Optional packages: imported where needed, named with their install line where missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from influence_store.errors import MissingExtra


def require(module: str, *, extra: str) -> Any:
    """Import and return `module`, or raise MissingExtra with the pip line that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise _missing(module, extra) from error


def check(module: str, *, extra: str) -> None:
    """MissingExtra if `require` would raise it; imports nothing, so it can be said at once."""
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra)


def _missing(module: str, extra: str) -> MissingExtra:
    return MissingExtra(
        f"{module} is not installed", hint=f"pip install 'influence-store[{extra}]'"
    )
