"""In which order do sources join the selection? One optimizer per idea, all under `Limits`.

Greedy (`greedy.py`) adds the largest gain: naive, or lazy with the same picks. `stochastic.py`
looks at random parts, `partitioned.py` at parts one by one, `streaming.py` at each source once;
`knapsack.py` spends money instead of seats. What they share is `path.py`.
"""

from __future__ import annotations

from influence_store.selection.optimizers.greedy import LazyGreedy, NaiveGreedy
from influence_store.selection.optimizers.knapsack import KnapsackGreedy
from influence_store.selection.optimizers.partitioned import PartitionedGreedy
from influence_store.selection.optimizers.stochastic import (
    LazierThanLazyGreedy,
    StochasticGreedy,
)
from influence_store.selection.optimizers.streaming import SieveStreaming

__all__ = [
    "KnapsackGreedy",
    "LazierThanLazyGreedy",
    "LazyGreedy",
    "NaiveGreedy",
    "PartitionedGreedy",
    "SieveStreaming",
    "StochasticGreedy",
]
