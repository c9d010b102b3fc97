"""Is the selection worth its price? What the same objective says of cheap rivals, kept with it.

Every selection, whoever made it, is told beside twenty random ones under the same limits, one of
the same lengths, the best by mean influence, what cosine alone would pick, and K-center. Rivals
that would take longer than the selection itself are left out and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.jobs.cells import content_ids, response_chars
from influence_store.selection.baselines import (
    column_means,
    compare,
    cosine_picks,
    first_that_fit,
)
from influence_store.selection.k_center import k_center
from influence_store.selection.length import length_matched
from influence_store.selection.plan import SCREENED_BYTES_PER_PAIR
from influence_store.selection.views import screened

if TYPE_CHECKING:
    from influence_store.jobs.kernels import Kernel
    from influence_store.protocols import Chosen, Ids, PairwiseView, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

COSINE_FL, K_CENTER = "cosine facility location", "k-center"
#: Distances that K-center may cost: a minute or two.
_DISTANCES = 500_000_000


def proof(
    store: Store,
    version: Version,
    kernel: Kernel,
    judge: SetFunction[Any],
    chosen: Chosen,
    limits: Limits,
    *,
    view: PairwiseView | None,
    is_cosine_fl: bool,
    weight: float,
    memory: int,
    seed: int,
) -> dict[str, Any]:
    """The baselines of `chosen` (positions in `version.sids`) as stored with it.

    `judge` tells the value of any set, times `weight`; `view` is the kernel it reads, None where
    top by mean means nothing.
    """
    sids, n, count = version.sids, len(version.bits), len(chosen.items)
    enough = _enough(limits, count, n)
    references: dict[str, Ids] = {}
    left_out: list[str] = []
    if is_cosine_fl:
        references[COSINE_FL] = chosen.items
    elif SCREENED_BYTES_PER_PAIR * len(sids) ** 2 <= memory:
        cosine = screened(kernel.cosine(sids, sids), memory)
        references[COSINE_FL] = _first(cosine_picks(cosine, enough), limits, count, n)
    else:
        left_out.append(f"{COSINE_FL} (its kernel does not fit the memory limit)")
    if view is not None:
        by_mean = np.argsort(-column_means(view), kind="stable")
        references["top by mean"] = _first(by_mean, limits, count, n)
    references["length-matched random"] = _length_matched(store, sids, chosen, limits, seed)
    if len(sids) * count <= _DISTANCES:
        references[K_CENTER] = _k_center(store, kernel, sids, limits, count, seed)
    else:
        left_out.append(f"{K_CENTER} (more than {_DISTANCES:,} distances)")
    told = compare(judge, chosen, references, seed=seed, limits=limits, weight=weight).facts()
    judged = None if view is None else int(view.shape[0])
    return {**told, "left_out": left_out, "judged_targets": judged}


def _enough(limits: Limits, count: int, n: int) -> int:
    """How many of n to rank so that `count` of them fit: more where limits may reject some."""
    if limits.groups is not None or limits.costs is not None:
        return n
    n_barred = 0 if limits.barred is None else int(limits.barred.sum())
    return min(n, count + n_barred)


def _first(order: Ids, limits: Limits, count: int, n: int) -> Ids:
    return first_that_fit(order, limits, n)[:count]


def _length_matched(store: Store, sids: Ids, chosen: Chosen, limits: Limits, seed: int) -> Ids:
    """A random set with the response lengths of the chosen ones: did length do it?"""
    lengths = response_chars(store, sids)
    free = np.ones(len(sids), np.bool_) if limits.barred is None else ~limits.barred
    places = np.flatnonzero(free)
    ids = content_ids(store, sids)
    picks = length_matched(
        len(chosen.items),
        lengths=lengths[places],
        like=lengths[chosen.items],
        ids=[ids[k] for k in places.tolist()],
        seed=seed,
    )
    return places[picks.items]


def _k_center(
    store: Store, kernel: Kernel, sids: Ids, limits: Limits, count: int, seed: int
) -> Ids:
    vectors = store.vectors(kernel.embedder, sids)
    n_picks = min(len(sids), _enough(limits, count, len(sids)), 2 * count + 1_000)
    picks = k_center(n_picks, vectors=vectors, ids=content_ids(store, sids), seed=seed)
    return _first(picks.items, limits, count, len(sids))
