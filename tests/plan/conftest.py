"""A copy of the store that has something of everything."""

from good_store import _copies, good, trial  # noqa: F401
