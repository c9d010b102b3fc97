"""`select --path partitioned`: every part is selected from alone, by whoever is free.

What is sent away is which rows a part holds; a worker reads their vectors from the store and
answers with its picks. Parts, picks and their merger depend on the question only, so neither the
engine nor the number of workers can change a selection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.execution import LOCAL, StoreAt, no_slot
from influence_store.progress import progress
from influence_store.protocols import Chosen
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.partition import (
    by_gain,
    cells_for,
    merge,
    part_picks,
    parts_of,
    winners_of,
)
from influence_store.selection.plan import BYTES_PER_PAIR, SCREENED_BYTES_PER_PAIR
from influence_store.selection.views import CosineView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.execution import Executor
    from influence_store.jobs.problem import Problem
    from influence_store.jobs.question import Question
    from influence_store.protocols import Ids
    from influence_store.selection.limits import Limits
    from influence_store.store.runs import Slot
    from influence_store.store.store import Store


#: Parts are cut to what fits.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Part:
    """Which rows (sids), which of them must not be picked, and how many picks are wanted."""

    rows: BitMap
    barred: BitMap
    count: int


@dataclass(frozen=True)
class PartGreedy:
    """Exact greedy on the stored vectors of one part; `embedder` is a fingerprint."""

    store: StoreAt
    embedder: str
    floor: float
    device: str = "cpu"

    def open(self) -> Store:
        """The store alone: vectors are read part by part."""
        return self.store.open()

    def do(self, store: Store, part: Part, _slot: Slot) -> Chosen:
        """The picks of `part`, positions in its ascending sids; nothing is written."""
        producers = store.producers("embedding")
        embedder = next(one for one in producers if one.fingerprint == self.embedder)
        sids = np.asarray(part.rows.to_array(), np.int64)
        barred = np.isin(sids, np.asarray(part.barred.to_array(), np.int64), assume_unique=True)
        vectors = store.vectors(embedder, sids)
        return part_picks(vectors, part.count, barred, self.floor, _NO_LIMIT)


def pieces_of(question: Question, memory: int) -> tuple[int, int] | None:
    """Into how many cells, and how many samples a part at most; None for another path.

    Whatever is not said already is such that `memory` bytes hold a part's kernel and its copy.
    UsageError for a number of parts with another path, or above that of the samples.
    """
    asked, _ = question.pieces or (None, None)
    n = len(question.version.bits)
    if question.path != "partitioned":
        if asked:
            raise UsageError(
                "--parts belongs to another path", hint="add: --path partitioned, or drop --parts"
            )
        return None
    cells, most = cells_for(n, memory // 2, SCREENED_BYTES_PER_PAIR)
    if asked and asked > n:
        raise UsageError(f"{asked:,} parts of {n:,} samples", hint="fewer --parts")
    return asked or cells, most


def partitioned(
    store: Store,
    question: Question,
    problem: Problem,
    limits: Limits,
    executor: Executor = LOCAL,
) -> tuple[Chosen, dict[str, Any]]:
    """The order over `version.sids`, and what to tell of how it was found.

    UsageError for limits beyond a number of samples and barred ones: a part cannot know what the
    others hold.
    """
    if limits.costs is not None or limits.groups is not None or len(limits.start):
        raise UsageError(
            "a selection in parts takes a number of samples only: no tokens, quotas or --from",
            hint="leave --path out, or: --path tiles",
        )
    assert isinstance(problem.function, FacilityLocation)
    assert question.pieces is not None
    view, floor = problem.function.view, problem.function.floor
    cells, most = question.pieces
    assert isinstance(view, CosineView)
    assert cells is not None
    assert most is not None
    positions = parts_of(view.sources, cells, most, question.seed)
    parts = _parts(question, limits, positions)
    work = PartGreedy(StoreAt.of(store), question.kernel.embedder.fingerprint, floor)
    answers = executor.map(work, parts, no_slot, store)
    found = []
    with progress("parts", len(parts)) as advance:
        for part, chosen in zip(positions, answers, strict=True):
            found.append(Chosen(part[chosen.items], chosen.gains, chosen.evaluations))
            advance(1)
    winners = np.sort(np.concatenate([one.items for one in found]))
    told = {
        "parts": len(parts),
        "largest": max(len(part) for part in positions),
        "winners": len(winners),
        # What a part may take, and as much again for its copy: the memory that was allowed.
        "merged": len(winners) * view.shape[0] * BYTES_PER_PAIR <= 2 * _bytes_of(most),
    }
    merged = (
        merge(view.sources, winners, limits.budget, floor, _NO_LIMIT)
        if told["merged"]
        else by_gain(found, limits.budget)
    )
    return merged, {"partitioned": told, "told": _line(told)}


def _parts(question: Question, limits: Limits, positions: Sequence[Ids]) -> list[Part]:
    sids = question.version.sids
    barred = np.zeros(len(sids), np.bool_) if limits.barred is None else limits.barred
    return [
        Part(
            BitMap(sids[part].astype(np.uint32)),
            BitMap(sids[part[barred[part]]].astype(np.uint32)),
            winners_of(limits.budget, len(part), len(sids)),
        )
        for part in positions
    ]


def _bytes_of(rows: int) -> float:
    """What an exact selection among so many takes."""
    return SCREENED_BYTES_PER_PAIR * rows * rows


def _line(told: dict[str, Any]) -> str:
    how = (
        "then exactly among these"
        if told["merged"]
        else "of these the largest gains in their parts, as their kernel would exceed --memory"
    )
    return (
        f"exact in {told['parts']:,} parts of at most {told['largest']:,} samples, "
        f"{told['winners']:,} winners; {how}"
    )
