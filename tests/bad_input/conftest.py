"""The good store and its trials, for the tests of this folder."""

from __future__ import annotations

from good_store import _copies, good, trial

__all__ = ["_copies", "good", "trial"]
