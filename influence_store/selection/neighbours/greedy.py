"""Greedy on a neighbour index: the engine's walk over the pairs that the index lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from influence_store.selection.engine.greedy import maximize
from influence_store.selection.neighbours.sparse import sparse_kernel

if TYPE_CHECKING:
    from influence_store.protocols import Chosen
    from influence_store.selection.limits import Limits
    from influence_store.selection.neighbours.index import Neighbours


def neighbour_greedy(index: Neighbours, limits: Limits) -> Chosen:
    """The better of the orders by gain and, where there are costs, by gain per cost.

    Gains are those above the level of the index, so they bound nothing: `left` is None.
    """
    n = len(index.index)
    cap, bonus = np.full(n, np.inf, np.float32), np.zeros(n)
    orders = []
    for per_cost in (False, True)[: 1 if limits.costs is None else 2]:
        pairs, level = sparse_kernel(index)  # the walk uses them up
        orders.append(maximize(pairs, level, limits, cap=cap, bonus=bonus, per_cost=per_cost))
    return replace(max(orders, key=lambda order: float(order.gains.sum())), left=None)
