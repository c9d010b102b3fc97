"""Keep, estimate and serve LLM influence: which of this data is worth training on?

with influence_store.open("./influence-store") as store:
    store.query("select * from demo order by est_delift_l2 desc limit 5")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from influence_store.version import __version__

if TYPE_CHECKING:
    from influence_store.api import open

# From 1.31 on ONNX Runtime tells its maker about every process that imports it, and keeps an
# identifier of the machine in the user's home. Nobody asked our users; they may say 0 themselves.
for _variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
    os.environ.setdefault(_variable, "1")

__all__ = ["__version__", "open"]


def __getattr__(name: str) -> Any:
    # LanceDB and SQLModel take seconds to import; whoever only asks for the version waits for none.
    if name == "open":
        from influence_store.api import open

        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What completion in an interactive shell offers: `open` as well, which is not loaded yet.
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
