"""What does more budget buy? One greedy order, cut at several budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Doubles


@dataclass(frozen=True)
class Milestone:
    """What the first `n` picks cost together, add up to, and are of the whole (0..1)."""

    n: int
    cost: float
    value: float
    share: float


def milestones(gains: Doubles, costs: Doubles, n_points: int = 10) -> tuple[Milestone, ...]:
    """The greedy order cut at `n_points` evenly spaced budgets, the whole among them.

    `gains` and `costs` (n,) in the order picked; `share` is NaN where all gains are 0. Every
    prefix of a greedy order is the answer to that smaller budget.
    """
    value, cost = np.cumsum(gains), np.cumsum(costs)
    n = len(gains)
    cuts = sorted({n * k // n_points for k in range(1, n_points + 1)} - {0})
    whole = float(value[-1]) if n else 0.0
    return tuple(
        Milestone(
            cut,
            float(cost[cut - 1]),
            float(value[cut - 1]),
            float(value[cut - 1]) / whole if whole else float("nan"),
        )
        for cut in cuts
    )
