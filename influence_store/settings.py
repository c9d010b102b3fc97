"""What the command line does not say: where store, catalog and cache are, how long leases last."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_STORE = "./influence-store"
STORE_VARIABLE = "INFLUENCE_STORE_URI"
DATABASE_VARIABLE = "INFLUENCE_STORE_DATABASE"
LEASE_VARIABLE = "INFLUENCE_STORE_LEASE_SECONDS"
CACHE_VARIABLE = "INFLUENCE_STORE_CACHE"


def cache_dir() -> Path:
    """Folder for what can be made again (converted models): $INFLUENCE_STORE_CACHE, or the
    user's cache folder.
    """
    if told := os.environ.get(CACHE_VARIABLE):
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "influence-store"


def lease_seconds() -> float:
    """How long a run that nobody hears from keeps its work: $INFLUENCE_STORE_LEASE_SECONDS or 60.

    Heartbeats come six times as often.
    """
    return float(os.environ.get(LEASE_VARIABLE) or 60.0)
