"""Where things are when the command line does not say: store, cache."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_STORE = "./influence-store"
STORE_VARIABLE = "INFLUENCE_STORE_URI"
CACHE_VARIABLE = "INFLUENCE_STORE_CACHE"


def cache_dir() -> Path:
    """Folder for what can be made again (converted models): $INFLUENCE_STORE_CACHE, or the
    user's cache folder.
    """
    if told := os.environ.get(CACHE_VARIABLE):
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "influence-store"
