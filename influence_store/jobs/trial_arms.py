"""Which rows does each arm of a trial train on? Selections as stored, baselines made beside them.

Baselines may pick any row of the pool that is not held out, also those that the selection's quotas
or its policy for near duplicates kept from it: the question is whether all that was worth it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from influence_store.counted import counted
from influence_store.errors import Incompatible, UsageError
from influence_store.jobs.cells import content_ids, response_chars
from influence_store.jobs.kernels import COSINE, choose_kernel
from influence_store.jobs.problem import plan_of, problem_of
from influence_store.jobs.question import question_of
from influence_store.jobs.select import MEMORY_BYTES
from influence_store.selection.baselines import column_means, cosine_picks
from influence_store.selection.plan import SCREENED_BYTES_PER_PAIR
from influence_store.selection.random_choice import random_choice
from influence_store.selection.views import screened
from influence_store.trial.arms import (
    COSINE_FL,
    FULL,
    FULL_EPOCH,
    LENGTH,
    RANDOM,
    SELECTION,
    TOLD,
    TOP,
    UNTRAINED,
    Arm,
    length_sets,
    random_sets,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.protocols import Ids
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Rows of all data that are looked at: no budget of a trial reads more.
_ENOUGH = 20_000


@dataclass(frozen=True)
class Arms:
    """The selections first; `left_out` says which baselines could not be made, and why."""

    arms: tuple[Arm, ...]
    left_out: tuple[str, ...]


def trial_arms(
    store: Store,
    version: Version,
    selections: Sequence[StoredSelection],
    pool: Ids,
    kinds: Sequence[str],
    *,
    seeds: Sequence[int],
    draws: int,
) -> Arms:
    """One arm per selection, and the baselines of `kinds`, shared where they are the same.

    `pool` are the sids that may be trained on. UsageError if a selection has fewer than two there.
    """
    maker = _Maker(store, version, pool, seeds, draws)
    made: list[Arm] = []
    for one in selections:
        rows = np.sort(one.sids[np.isin(one.sids, pool)])
        if len(rows) < 2:
            raise UsageError(
                f"selection {one.row.id} has {counted(len(rows), 'row')} that can be trained on",
                hint="select more, or leave it out",
            )
        made.append(Arm(SELECTION, one.row.id, tuple((rows,) for _ in seeds)))
        made += [arm for kind in kinds for arm in maker.baselines(kind, one, rows)]
    return Arms(tuple(_named(_merged(made))), tuple(dict.fromkeys(maker.left_out)))


class _Maker:
    """Baselines of one trial, made one at a time; what several selections share is made once."""

    def __init__(
        self, store: Store, version: Version, pool: Ids, seeds: Sequence[int], draws: int
    ) -> None:
        self._store, self._version, self._pool = store, version, pool
        self._seeds, self._draws = seeds, draws
        self._ids = content_ids(store, pool)
        self._cosine: dict[int, Ids | None] = {}
        self.left_out: list[str] = []

    def baselines(self, kind: str, of: StoredSelection, rows: Ids) -> Iterator[Arm]:
        """The arm of this kind for a selection of the sids `rows`, if it can be made."""
        name, whose, n = TOLD[kind], (of.row.id,), len(rows)
        if kind == UNTRAINED:
            yield Arm(kind, name, self._every(rows[:0]), whose)
        elif kind in (FULL, FULL_EPOCH):
            yield self._full(kind, whose)
        elif kind == RANDOM:
            sets = random_sets(self._pool, self._ids, n, seeds=self._seeds, draws=self._draws)
            yield Arm(kind, name, sets, whose, redrawn=True)
        elif kind == LENGTH:
            lengths = response_chars(self._store, self._pool)
            like = lengths[np.searchsorted(self._pool, rows)]
            sets = length_sets(
                self._pool, self._ids, lengths, like, seeds=self._seeds, draws=self._draws
            )
            yield Arm(kind, name, sets, whose, redrawn=True)
        else:
            order = self._top(of) if kind == TOP else self._cosine_fl(n)
            if order is not None:
                yield Arm(kind, name, self._every(np.sort(order[:n])), whose)

    def _every(self, rows: Ids) -> tuple[tuple[Ids, ...], ...]:
        return tuple((rows,) for _ in self._seeds)

    def _full(self, kind: str, whose: tuple[str, ...]) -> Arm:
        pool = self._pool
        if kind == FULL_EPOCH or len(pool) <= _ENOUGH:
            return Arm(kind, TOLD[kind], self._every(pool), whose, tokens=kind == FULL)
        sets = tuple(
            (np.sort(pool[random_choice(_ENOUGH, ids=self._ids, seed=seed).items]),)
            for seed in self._seeds
        )
        return Arm(kind, TOLD[kind], sets, whose, redrawn=True)

    def _top(self, of: StoredSelection) -> Ids | None:
        """The pool by mean influence on the kernel of the selection, best first."""
        name = f"{TOLD[TOP]} of {of.row.id}"
        if "function" not in of.row.facts:
            self.left_out.append(f"{name} ({of.row.objective} stands on no kernel)")
            return None
        question = question_of(self._store, of.row)
        problem = problem_of(question, plan_of(question, MEMORY_BYTES), MEMORY_BYTES)
        view = getattr(problem.judge, "view", None)
        if view is None:
            self.left_out.append(f"{name} (a mean over {of.row.objective} says nothing)")
            return None
        by_mean = problem.sources[np.argsort(-column_means(view), kind="stable")]
        return by_mean[np.isin(by_mean, self._pool)]

    def _cosine_fl(self, n: int) -> Ids | None:
        """What coverage by cosine picks from the pool."""
        if n not in self._cosine:
            self._cosine[n] = self._covering(n)
        return self._cosine[n]

    def _covering(self, n: int) -> Ids | None:
        pool = self._pool
        if SCREENED_BYTES_PER_PAIR * len(pool) ** 2 > MEMORY_BYTES:
            self.left_out.append(f"{TOLD[COSINE_FL]} (its kernel does not fit the memory limit)")
            return None
        try:
            kernel = choose_kernel(self._store, [self._version], COSINE, accept_weak=False)
        except Incompatible:
            self.left_out.append(f"{TOLD[COSINE_FL]} (the dataset has no embeddings)")
            return None
        return pool[cosine_picks(screened(kernel.cosine(pool, pool), MEMORY_BYTES), n)]


def _merged(arms: Sequence[Arm]) -> list[Arm]:
    """Baselines of one kind that would train on the same rows become one."""
    kept: dict[tuple[str, bytes], Arm] = {}
    for arm in arms:
        rows = b"|".join(one.tobytes() for sets in arm.sets for one in sets)
        key = (arm.name if arm.kind == SELECTION else arm.kind, rows)
        known = kept.get(key)
        kept[key] = arm if known is None else replace(known, of=(*known.of, *arm.of))
    return list(kept.values())


def _named(arms: Sequence[Arm]) -> Iterator[Arm]:
    """A name of its own for each: baselines of one kind with different rows say whose they are."""
    for arm in arms:
        alike = sum(other.kind == arm.kind for other in arms)
        alone = arm.kind == SELECTION or alike == 1
        yield arm if alone else replace(arm, name=f"{arm.name} for {', '.join(arm.of)}")
