"""`label --plan`: what would the work cost, measured on this machine for 20 seconds?

Random rows of those still to be asked are measured and thrown away; nothing is written. Seconds,
passes and tokens grow with the text, so they are scaled by characters; a pairwise method that can
count its tokens is scaled by them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pyroaring import BitMap

from influence_store.influence.design import COMPLETE
from influence_store.jobs.active import ACTIVE
from influence_store.jobs.cost import CostPlan, Part, all_characters, characters
from influence_store.jobs.label_pairs import known_pairs, seed_pairs
from influence_store.jobs.label_rows import (
    POINTS,
    columns_of,
    groups,
    known_cells,
    measure_together,
    row_order,
)
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.jobs.budget import Budget
    from influence_store.jobs.label_rows import Column
    from influence_store.jobs.methods import Workshop
    from influence_store.protocols import Ids, PairwiseInfluence
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

CALIBRATION_SECONDS = 20.0
_FIRST_CHUNK = 4
#: Sources × targets of the pairs that are timed.
_CALIBRATION_PAIRS = 64


def plan(
    store: Store,
    version: Version,
    workshop: Workshop,
    names: Sequence[str],
    budget: Budget,
    seed: int,
    *,
    targets: Version | None,
    design: str = COMPLETE,
) -> CostPlan:
    """What `label` with the same arguments would cost, fine-tuning included where it is due.

    Which pairs active labelling will ask cannot be known; scattered ones cost about as much.
    """
    due = workshop.rehearse(names)
    training = [
        Part(one.name, one.rows, 0, one.llm_passes, one.llm_tokens, one.seconds, one.bytes,
             one.measured)
        for one in due
    ]  # fmt: skip
    methods = workshop.methods(names)
    pairwise = [method for method in methods if method.spec.kind == "pairwise"]
    if pairwise:
        pairs_of = partial(
            seed_pairs,
            store,
            version,
            targets or version,
            seed=seed,
            design="scatter" if design == ACTIVE else design,
        )
        sizes = len(version.bits), len((targets or version).bits)
        parts = _pairs(store, sizes, pairwise[0], budget, pairs_of)
    else:
        columns = columns_of(store, methods, register=False)
        rows = row_order(store, version, seed)[: budget.n_rows(len(version.bits))]
        work = [(group, rows) for group in groups([*columns.points, *columns.sources])]
        if targets is not None:
            aims = row_order(store, targets, seed)
            work += [(group, aims) for group in groups(columns.targets)]
        parts = [_rows(store, group, sids) for group, sids in work]
    if budget.minutes is not None:
        parts = [_within(part, 60 * budget.minutes) for part in parts]
    return CostPlan(str(version), workshop.device, tuple([*training, *parts]))


def _rows(store: Store, group: Sequence[Column], sids: Ids) -> Part:
    """Measure random rows for `CALIBRATION_SECONDS` and scale by characters."""
    known = BitMap.intersection(*[known_cells(store, column) for column in group])
    todo = [sid for sid in sids.tolist() if sid not in known]
    ledger = group[0].ledger
    before = ledger.facts()
    chars = measured = 0
    seconds = 0.0
    label = " + ".join(column.name for column in group)
    with progress(f"timing {label}", len(todo), "rows") as advance:
        size = _FIRST_CHUNK
        while measured < len(todo) and seconds < CALIBRATION_SECONDS:
            part = todo[measured : measured + size]
            _, samples = read_samples(store, BitMap(part))
            began = time.monotonic()
            measure_together(group, samples)
            seconds += time.monotonic() - began
            chars += sum(map(characters, samples))
            measured += len(part)
            size *= 2
            advance(len(part))
    share = all_characters(store, todo) / chars if chars else 0.0
    spent = {name: count - before[name] for name, count in ledger.facts().items()}
    return Part(
        name=label,
        cells=len(todo),
        known=len(sids) - len(todo),
        llm_passes=round(share * spent["llm_passes"]),
        llm_tokens=round(share * spent["llm_tokens"]),
        seconds=share * seconds,
        bytes=len(todo) * sum(map(_row_bytes, group)),
        measured=measured,
    )


def _pairs(
    store: Store,
    sizes: tuple[int, int],
    method: PairwiseInfluence[Any],
    budget: Budget,
    pairs_of: Callable[[int], pl.DataFrame],
) -> list[Part]:
    """Time a small part of the seed; a method that counts its tokens is scaled by them."""
    small = pairs_of(_CALIBRATION_PAIRS)
    few, aims = (_distinct(store, small[side]) for side in ("source", "target"))
    began = time.monotonic()
    state = method.prepare(aims)
    base_seconds, base = time.monotonic() - began, method.ledger.facts()
    timed = 0
    began = time.monotonic()
    for source in few:
        method.score(state, source, np.arange(len(aims)))
        timed += 1
        if time.monotonic() - began > CALIBRATION_SECONDS:
            break
    seconds = time.monotonic() - began
    spent = {name: count - base[name] for name, count in method.ledger.facts().items()}
    pace = seconds / (timed * len(aims))
    wanted = pairs_of(budget.n_pairs(*sizes, pace))
    known = known_pairs(store, method, wanted)
    todo = wanted.height - known
    asked, served = (_distinct(store, wanted[side]) for side in ("source", "target"))
    share = todo / (timed * len(aims))
    tokens = round(share * spent["llm_tokens"])
    if (count := getattr(method, "count_tokens", None)) is not None:
        tokens = round(count(asked, served) * todo / max(1, len(asked) * len(served)))
        share = tokens / max(1, spent["llm_tokens"])
    base_share = pl.concat([wanted["source"], wanted["target"]]).n_unique() / len(aims)
    name = method.spec.name
    width = 16 + 4 * len(method.spec.outputs)
    passes = todo + len(asked)
    return [
        _base_part(base_share, base, base_seconds, len(aims)),
        Part(name, todo, known, passes, tokens, share * seconds, todo * width, timed * len(aims)),
    ]


def _base_part(share: float, spent: dict[str, int], seconds: float, measured: int) -> Part:
    return Part(
        name="base passes of the seed's samples",
        cells=round(share * measured),
        known=0,
        llm_passes=round(share * spent["llm_passes"]),
        llm_tokens=round(share * spent["llm_tokens"]),
        seconds=share * seconds,
        bytes=0,
        measured=measured,
    )


def _within(part: Part, seconds: float) -> Part:
    """As much of a part as a time limit allows."""
    share = min(1.0, seconds / part.seconds) if part.seconds else 1.0
    return replace(
        part,
        cells=round(share * part.cells),
        llm_passes=round(share * part.llm_passes),
        llm_tokens=round(share * part.llm_tokens),
        seconds=share * part.seconds,
        bytes=round(share * part.bytes),
    )


def _row_bytes(column: Column) -> int:
    """Stored per row: sid, values or vector, and how it was measured."""
    points = column.producer.kind == POINTS
    return 17 + (8 * len(column.spec.outputs) if points else 4 * column.producer.dim + 1)


def _distinct(store: Store, sids: pl.Series) -> list[Sample]:
    """The samples behind `sids`, each once, in order of first appearance."""
    order = sids.unique(maintain_order=True).to_list()
    found, samples = read_samples(store, BitMap(order))
    by_sid = dict(zip(found.tolist(), samples, strict=True))
    return [by_sid[sid] for sid in order]
