"""Keep, estimate and serve LLM influence: which of this data is worth training on?

with influence_store.open("./influence-store") as store:
    store.query("select * from demo order by est_delift desc limit 5")
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence_store.api import open

try:
    __version__ = version("influence-store")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "open"]


def __getattr__(name: str) -> Any:
    # LanceDB and SQLModel take seconds to import; whoever only asks for the version waits for none.
    if name == "open":
        from influence_store.api import open

        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
