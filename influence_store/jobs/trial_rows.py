"""Which rows may be trained on in a trial, and which are kept back to judge by?

Held-out rows come from a dataset of their own (`--holdout`), or, where there is none, from the rows
of the pool that no selection of the trial has picked. Either way no arm trains on them, and those
that share content with the pool (the signs of `leaks`) are taken out and counted: else the arm that
happens to hold a copy would win by memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import UsageError
from influence_store.jobs.cells import content_ids
from influence_store.jobs.leaks import leaks
from influence_store.trial.arms import held_out_rows

if TYPE_CHECKING:
    from influence_store.protocols import Ids
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Share of the rows outside the selections that are held out where there is no other dataset.
_SHARE = 0.2


@dataclass(frozen=True)
class TrialRows:
    """Sids, ascending: `pool` may be trained on, `held` is judged on; they share none.

    `leaked` held-out rows were taken out since the pool holds part of them, `unusable` ones since
    the learner cannot read them. `source` names where the held-out rows are from.
    """

    pool: Ids
    held: Ids
    source: str
    leaked: int
    unusable: int = 0
    notes: tuple[str, ...] = ()

    def readable(self, pool: Ids, held: Ids) -> TrialRows:
        """The same with the rows that the learner can read; UsageError if none is held out."""
        if not len(held):
            raise UsageError(
                f"none of {len(self.held)} of {self.source} can be measured",
                hint="name another dataset: --holdout D",
            )
        left = len(self.pool) - len(pool)
        told = (
            f"{counted(left, 'row')} of the pool cannot be trained on and "
            f"{agree(left, 'is', 'are')} in no arm",
        )
        notes = (*self.notes, *(told if left else ()))
        gone = len(self.held) - len(held)
        return replace(self, pool=pool, held=held, unusable=gone, notes=notes)

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        told = {"held_out_of": self.source, "pool": len(self.pool), "held": len(self.held)}
        return {**told, "leaked": self.leaked, "unusable": self.unusable}


def trial_rows(
    store: Store,
    version: Version,
    chosen: BitMap,
    holdout: Version | None,
    *,
    count: int,
    seed: int,
    keep_leaks: bool,
) -> TrialRows:
    """At most `count` rows to judge by, drawn with `seed`; `chosen` are those of all selections.

    UsageError if nothing is left to judge by.
    """
    notes: tuple[str, ...] = ()
    if holdout is None:
        free = version.bits - chosen
        drawn = _drawn(store, free, min(count, int(_SHARE * len(free))), seed)
        pool, source = version.bits - drawn, f"the rows of {version} outside the selections"
        notes = (
            f"judged by {source}: by what a selection left out, and knew. Another dataset is a "
            "fairer judge: --holdout D",
        )
    else:
        drawn, pool = _drawn(store, holdout.bits, count, seed), version.bits
        source = f"the rows of {holdout}"
    copies = drawn & pool
    if keep_leaks:
        found = copies
        notes = (*notes, "near copies of held-out rows may be trained on (--keep-leaks)")
    else:
        found = _leaked(store, version, pool, holdout or version, drawn)
    held = drawn - found - copies
    if not held:
        raise UsageError(
            f"no row is left to judge by: of {len(drawn)} of {source}, {len(found)} leaked",
            hint="name another dataset: --holdout D",
        )
    return TrialRows(_sids(pool), _sids(held), source, len(drawn) - len(held), 0, notes)


def _drawn(store: Store, bits: BitMap, count: int, seed: int) -> BitMap:
    sids = _sids(bits)
    return BitMap(sids[held_out_rows(content_ids(store, sids), count, seed)].astype(np.uint32))


def _leaked(store: Store, version: Version, pool: BitMap, home: Version, held: BitMap) -> BitMap:
    """Held-out rows of which the pool holds something."""
    report = leaks(store, replace(version, bits=pool), replace(home, bits=held))
    return BitMap(report.matches["target"].to_numpy().astype(np.uint32))


def _sids(bits: BitMap) -> Ids:
    return np.asarray(bits.to_array(), np.int64)
