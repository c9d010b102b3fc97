"""What would teach an estimator about rows that lie outside its labels, and what `label` takes.

Two answers: how few sources would do if they were chosen well, and which budget of `label`, that
draws them at random, would do. The cost follows the rows outside and the budget, not the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log
from typing import TYPE_CHECKING, Literal

import numpy as np
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.influence import METHODS
from influence_store.influence.design import grid_shape, source_order
from influence_store.jobs.cells import content_ids
from influence_store.jobs.label_rows import row_order
from influence_store.network.drift import distance_to_nearest, rows_to_cover

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.jobs.learned import Learned
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: The largest budget of pairs that is thought through, the most sources that it may ask for, and
#: the factor from one budget to the next.
PAIRS, SOURCES, STEP = 1_000_000, 100_000, 1.25
#: Sources that are read first, and that are judged at a time.
FIRST_READ, STRIDE = 8192, 16


@dataclass(frozen=True)
class Outside:
    """Rows outside, how far from a labelled source each may be, and how many may stay outside.

    `drawn`: they are a draw of all that are outside, and as large a share of them may stay.
    """

    vectors: Floats
    limits: Doubles
    tolerated: int
    drawn: bool


@dataclass(frozen=True)
class Advice:
    """What would end the drift: few well-chosen sources, or `budget` pairs or rows by `label`.

    That is, leave no more of the new rows outside than are expected, with today's limits.

    `budget` counts the labels there are already; it is None if no budget up to `most` does.
    `at_least` says that only a draw of the rows outside was covered; `targets` is the dataset to
    be helped, None for the labelled one itself.
    """

    sources: int
    at_least: bool
    unit: Literal["pairs", "rows"]
    budget: int | None
    most: int
    targets: str | None

    def line(self, dataset: str, method: str) -> str:
        """For people: the command that mends it."""
        more = (
            f"{'at least ' if self.at_least else ''}{counted(self.sources, 'more labelled source')}"
        )
        chosen = f"{more}, well chosen, would end it"
        if method not in METHODS.entries():
            return f"{chosen}: import more scores of {method}, then train and fill again"
        targets = f" --targets {self.targets}" if self.targets else ""
        command = f"influence-store label {dataset} --method {method} --model M{targets}"
        command = f"{command} --{self.unit}"
        if self.budget is None:
            return f"{chosen}; drawn at random, {command} {self.most} would not be enough"
        return f"{chosen}; drawn at random: {command} {self.budget}, then train and fill again"


def advise(
    store: Store, version: Version, seed: Learned, embedder: Producer, outside: Outside
) -> Advice:
    """What brings all but the expected share of the new rows to where rows ordinarily are now."""
    order, known, most, n_sources = _design(store, version, seed)
    steps = range(1, 1 + ceil(log(max(most / known, 1.0)) / log(STEP)))
    budgets = [min(_rounded(known * STEP**step), most) for step in steps]
    enough = _n_to_cover(store, embedder, order, seed.sources, outside)
    aimed = _aimed(store, version, seed)
    return Advice(
        sources=len(rows_to_cover(outside.vectors, outside.limits, outside.tolerated)),
        at_least=outside.drawn,
        unit="rows" if seed.pairs is None else "pairs",
        budget=next((one for one in budgets if n_sources(one) >= enough), None),
        most=most,
        targets=str(aimed) if aimed.id != version.id else None,
    )


def _design(
    store: Store, version: Version, seed: Learned
) -> tuple[Ids, int, int, Callable[[int], int]]:
    """Sources in the order of `label`, labels so far, most labels, and a budget's sources."""
    large = len(version.bits) > SOURCES
    if seed.pairs is None:
        order = _drawn(version) if large else row_order(store, version, 0)
        return order, len(seed.sources), len(order), lambda budget: budget
    n_targets = len(_aimed(store, version, seed).bits)
    order = _drawn(version) if large else _sources_in_order(store, version)
    return (
        order,
        seed.pairs.height,
        min(PAIRS, len(order) * n_targets),
        lambda budget: grid_shape(len(version.bits), n_targets, budget)[0],
    )


def _n_to_cover(
    store: Store, embedder: Producer, order: Ids, labelled: Ids, outside: Outside
) -> float:
    """How many of `order`, from its start, leave no more rows outside than tolerated; inf if none.

    Reads twice the vectors that are needed at most, and each once.
    """
    assert embedder.id is not None
    helpful = store.covered(embedder.id) - BitMap(labelled.astype(np.uint32))
    places = np.flatnonzero([sid in helpful for sid in order.tolist()])
    nearest = np.full(len(outside.vectors), np.inf)
    start, stop = 0, FIRST_READ
    while start < len(places):
        vectors = store.vectors(embedder, order[places[start:stop]])
        for k in range(0, len(vectors), STRIDE):
            distance = distance_to_nearest(outside.vectors, vectors[k : k + STRIDE])
            nearest = np.minimum(nearest, distance)
            if (nearest > outside.limits).sum() <= outside.tolerated:
                last = min(start + k + STRIDE, len(places)) - 1
                return float(places[last] + 1)
        start, stop = stop, 2 * stop
    return inf


def _drawn(version: Version) -> Ids:
    """Of a large version, a draw that stands for the order in which `label` takes its sources.

    It follows the same law, so a budget that is enough for it is about enough, without a look at
    every content in the store.
    """
    return np.random.default_rng(0).choice(version.sids, SOURCES, replace=False)


def _sources_in_order(store: Store, version: Version) -> Ids:
    return version.sids[source_order(content_ids(store, version.sids), 0)]


def _aimed(store: Store, version: Version, seed: Learned) -> Version:
    """Whom the sources were labelled for; the same dataset means its present version."""
    if seed.version is None or seed.targets_of is None:
        return version
    aimed = store.version(seed.targets_of)
    return version if aimed.dataset_id == seed.version.dataset_id else aimed


def _rounded(budget: float) -> int:
    """Up to two digits: nobody wants to type 1,953."""
    unit = int(10 ** max(0, len(str(int(budget))) - 2))
    return unit * ceil(budget / unit)
