"""The installed version, as written with every run and export."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("influence-store")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
