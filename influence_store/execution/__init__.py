"""Where is work done that falls into independent shards? Here, or on the workers of a cluster.

`spread` is what a job calls; `work.py` says what a job has to bring, `local.py` and `ray.py` are
the engines. Importing this loads neither.
"""

from __future__ import annotations

from influence_store.execution.engines import ENGINES, open_executor
from influence_store.execution.local import LOCAL, LocalExecutor
from influence_store.execution.place import StoreAt
from influence_store.execution.spread import no_slot, spread
from influence_store.execution.work import Executor, Work

__all__ = [
    "ENGINES",
    "LOCAL",
    "Executor",
    "LocalExecutor",
    "StoreAt",
    "Work",
    "no_slot",
    "open_executor",
    "spread",
]
