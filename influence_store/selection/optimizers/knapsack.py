"""Which selection is worth most for its money? (knapsack: Σ cost ≤ most)

Adding by gain wastes money on dear sources, adding by gain per cost can spend it on crumbs and
leave no room for the one dear source that matters: either alone can be arbitrarily bad. The
better of the two is not:

    f ≥ 0.405 · best

by Tang et al. 2021 (arXiv 2008.05391) for the better of gain per cost and the best single source;
the order by gain starts with that source, so it is never worse. No analysis can promise more than
0.42945 for that pair (Kulik, Schwartz and Shachnai 2021, arXiv 2102.12879). The older constants
are (1 − 1/e)/2 ≈ 0.316 (Krause and Guestrin 2005; CELF, Leskovec et al. 2007) and 1 − 1/√e ≈
0.393, whose first proof had a gap. All are for money alone: together with a budget below n,
floors or ceilings nothing is proven; `certificate.py` bounds every single answer instead.

A prefix is not the answer for less money: the other order may win there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from influence_store.errors import UsageError
from influence_store.selection.limits import limits_of
from influence_store.selection.optimizers.greedy import LazyGreedy

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.protocols import Chosen, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.selection.optimizers.path import Greedy


class KnapsackGreedy:
    """The better of greedy by gain and greedy by gain per cost; ties to the first."""

    def __init__(self, greedy: Callable[..., Greedy] = LazyGreedy) -> None:
        """`greedy(per_cost=...)` makes the optimizer of each order."""
        self.greedy = greedy

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """As `LazyGreedy.maximize`; UsageError also if there are no costs."""
        limits = limits_of(limits)
        if limits.costs is None:
            raise UsageError(
                "KnapsackGreedy found no costs; expected what each source costs",
                hint="use LazyGreedy where samples are counted",
            )
        orders = [self.greedy(per_cost=one).maximize(function, limits) for one in (False, True)]
        best = max(orders, key=lambda order: float(order.gains.sum()))
        return replace(best, evaluations=sum(order.evaluations for order in orders))
