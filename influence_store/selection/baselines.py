"""Is the selection worth its price? The same objective for sets that cost nothing to find.

Random subsets often reach 0.9 of what greedy reaches, so a ratio alone says little. What counts
is the share of the way from random to the selection that a cheap reference goes: 1 = the
reference is as good, 0 = it is no better than random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.progress import progress
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.room import fits, room_of, take
from influence_store.selection.tiles import check_filled, lower_bound, tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.protocols import Chosen, Gains, Ids, PairwiseView, SetFunction
    from influence_store.selection.limits import Limits

# A gain below this part of the largest is the rounding of a float32 kernel, not coverage.
_NO_GAIN = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Baselines:
    """f of a selection beside f of other sets under its limits; `references` by name."""

    n: int
    budget: int
    value: float
    nonzero_gain_picks: int
    seed: int
    random: tuple[float, ...]
    references: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """As stored with a selection, ready for JSON: what is undefined is None."""
        mean = float(np.mean(self.random))
        return {
            "n": self.n,
            "budget": self.budget,
            "value": self.value,
            "nonzero_gain_picks": self.nonzero_gain_picks,
            "random": {
                "draws": len(self.random),
                "seed": self.seed,
                "mean": mean,
                "sd": float(np.std(self.random, ddof=1)),
                "min": min(self.random),
                "max": max(self.random),
            },
            "references": {
                name: {
                    "value": value,
                    "normalised_gain": _or_none(normalised_gain(value, mean, self.value)),
                }
                for name, value in self.references.items()
            },
        }


def compare(
    function: SetFunction[Any],
    chosen: Chosen,
    references: Mapping[str, Ids],
    *,
    seed: int,
    draws: int = 20,
    limits: Limits | None = None,
    weight: float = 1.0,
) -> Baselines:
    """f of the chosen sources, of `draws` random sets under the same limits, and of references.

    Without limits a set is as large as the selection. `weight` multiplies all values: what one
    target stands for where f covers a sample of them. ValueError for fewer than two draws.
    """
    if draws < 2:
        raise ValueError(f"found {draws} random draws; expected at least 2, for a deviation")
    rng = np.random.default_rng(seed)
    random: list[float] = []
    with progress("random subsets", draws, "draws") as advance:
        for _ in range(draws):
            random.append(weight * function.value(_drawn(rng, function.n, chosen, limits)))
            advance(1)
    return Baselines(
        n=function.n,
        budget=len(chosen.items),
        value=weight * function.value(chosen.items),
        nonzero_gain_picks=nonzero_gain_picks(chosen),
        seed=seed,
        random=tuple(random),
        references={n: weight * function.value(items) for n, items in references.items()},
    )


def first_that_fit(order: Ids, limits: Limits, n: int) -> Ids:
    """What `order` picks if every source joins that still may, as long as the limits are."""
    if limits.groups is None and limits.costs is None:
        free = order if limits.barred is None else order[~limits.barred[order]]
        return free[: limits.budget]
    room, items = room_of(replace(limits, start=order[:0]), n), []
    for source in order.tolist():
        if fits(room, source):
            take(room, source)
            items.append(source)
    return np.array(items, np.int64)


def _drawn(rng: np.random.Generator, n: int, chosen: Chosen, limits: Limits | None) -> Ids:
    if limits is None:
        return rng.choice(n, len(chosen.items), replace=False)
    return first_that_fit(rng.permutation(n), replace(limits, budget=len(chosen.items)), n)


def normalised_gain(value: float, random: float, reference: float) -> float:
    """(value − random) / (reference − random): 0 = as random, 1 = as the reference; NaN if equal.

    With f(selection)/f(reference) = r and f(random)/f(reference) = r₀ it is (r − r₀) / (1 − r₀).
    """
    lead = reference - random
    scale = max(abs(reference), abs(random))
    return (value - random) / lead if abs(lead) > 1e-12 * scale else float("nan")


def nonzero_gain_picks(chosen: Chosen) -> int:
    """How many picks gained something; few of many say that the kernel is blind (additive)."""
    if not len(chosen.gains):
        return 0
    return int((chosen.gains > _NO_GAIN * abs(chosen.gains.max())).sum())


def cosine_picks(cosine: PairwiseView, budget: int) -> Ids:
    """What facility location picks from a cosine kernel, which costs no LLM pass."""
    return FusedGreedy().maximize(FacilityLocation(cosine, lower_bound(cosine)), budget).items


def top_by_mean(view: PairwiseView, budget: int) -> Ids:
    """The sources with the largest column means, best first: influence without diversity."""
    return np.argsort(-column_means(view), kind="stable")[:budget]


def column_means(view: PairwiseView) -> Gains:
    """mean_i S[i, j] for every source j, (n_sources,)."""
    check_filled(view)
    directly: Callable[[], Gains] | None = getattr(view, "column_means", None)
    if directly is not None:
        return directly()
    means = np.empty(view.shape[1])
    with progress("column means", view.shape[1], "sources") as advance:
        for sources, values in tiles(view, np.arange(view.shape[1])):
            means[sources] = values.mean(axis=1, dtype=np.float64)
            advance(len(sources))
    return means


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else number
