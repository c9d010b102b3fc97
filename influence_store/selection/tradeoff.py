"""What does serving one target cost the other? The Pareto frontier of two set functions.

    A_λ = greedy for  λ f_a / u_a + (1 − λ) f_b / u_b,   λ = 0 … 1
    u_t = best_t − random_t,   share_t(A) = (f_t(A) − random_t) / u_t

with best_t what greedy reaches for f_t alone and random_t the mean of random sets: 0 is chance, 1
all that one can have of that target, and λ = ½ weighs both alike whatever their scales. A point
dominates another if it is nowhere smaller and somewhere larger. Maxima of mixtures are never
dominated, but greedy is not exact: some points may be, and the mask says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.progress import progress
from influence_store.selection.functions.mixture import Mixture

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Flags, Gains, Ids, SetFunction, SetOptimizer


@dataclass(frozen=True)
class Tradeoff:
    """One selection per weight: `items` (n_weights, budget) in the order picked.

    `weights` (n_weights,) are λ, that of the first function; `values` (n_weights, 2) what each
    function makes of the selection, `shares` (n_weights, 2) the same between chance (0) and its
    own best (1), NaN where the two are equal. `efficient` (n_weights,): dominated by no other.
    `units` (2,) are the u_t by which λ and 1 − λ are to be divided to get the mixture's weights.
    """

    weights: Doubles
    values: Doubles
    shares: Doubles
    efficient: Flags
    items: Ids
    units: Doubles


def tradeoff(
    functions: tuple[SetFunction[Any], SetFunction[Any]],
    budget: int,
    optimizer: SetOptimizer,
    *,
    seed: int,
    steps: int = 11,
    draws: int = 20,
) -> Tradeoff:
    """`steps` ≥ 2 selections of `budget` sources, from all for the second to all for the first.

    ValueError for fewer steps, or where the functions have different sources.
    """
    if steps < 2:
        raise ValueError(f"found {steps} steps; expected at least 2, one for each end")
    weights = np.linspace(0.0, 1.0, steps)
    rng = np.random.default_rng(seed)
    sets = [rng.choice(functions[0].n, budget, replace=False) for _ in range(draws)]
    chance = np.mean([_values(functions, one) for one in sets], axis=0)
    with progress("frontier", steps, "selections") as advance:
        ends = []
        for alone in functions[::-1]:
            ends.append(optimizer.maximize(alone, budget).items)
            advance(1)
        best = np.array([functions[0].value(ends[1]), functions[1].value(ends[0])])
        units = np.where(best > chance, best - chance, 1.0)
        chosen = [ends[0]]
        for weight in weights[1:-1].tolist():
            mixture = Mixture(functions, (weight / units[0], (1 - weight) / units[1]))
            chosen.append(optimizer.maximize(mixture, budget).items)
            advance(1)
    items = np.array([*chosen, ends[1]])
    values = np.array([_values(functions, one) for one in items])
    shares = np.where(best > chance, (values - chance) / units, np.nan)
    return Tradeoff(weights, values, shares, pareto(values), items, units)


def pareto(points: Doubles) -> Flags:
    """Which of `points` (n, d), more is better in every column, are dominated by none; (n,)."""
    at_least = (points[:, None, :] >= points[None, :, :]).all(axis=2)
    above = (points[:, None, :] > points[None, :, :]).any(axis=2)
    return ~np.asarray((at_least & above).any(axis=0), np.bool_)


def _values(functions: tuple[SetFunction[Any], ...], items: Ids) -> Gains:
    return np.array([one.value(items) for one in functions])
