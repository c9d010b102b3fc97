"""Keep, estimate and serve LLM influence: which of this data is worth training on?

with influence_store.open("./influence-store") as store:
    store.query("select * from demo order by est_delift desc limit 5")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.version import __version__

if TYPE_CHECKING:
    from influence_store.api import open

__all__ = ["__version__", "open"]


def __getattr__(name: str) -> Any:
    # LanceDB and SQLModel take seconds to import; whoever only asks for the version waits for none.
    if name == "open":
        from influence_store.api import open

        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
