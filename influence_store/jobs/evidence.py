"""What does the store know of the samples that `explain` is asked about?

One pass over the stored vectors: their products with the asked ones give the twins, and with
cosine as the kernel also the columns of the rejected ones. Another kernel's columns are computed
for just these.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from influence_store.counted import counted
from influence_store.errors import Incompatible
from influence_store.jobs.allowed import allowed
from influence_store.jobs.cover import read_cover
from influence_store.jobs.kernels import COSINE, choose_kernel
from influence_store.jobs.question import question_of
from influence_store.selection.explain import (
    NOBODY,
    gains_at_end,
    largest,
    lost_without,
    rivals,
    ruled_out,
    within,
)

if TYPE_CHECKING:
    from influence_store.jobs.cover import Served
    from influence_store.jobs.kernels import Kernel
    from influence_store.jobs.question import Question
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.protocols import Floats, Ids
    from influence_store.store.store import Store

#: Functions whose targets are those of another dataset, even where samples are in both.
QUERIED = ("flqmi", "gcmi")
#: Two float32 products of the same vectors differ by less, relative to the largest value.
_ROUNDING = 2.0**-20


@dataclass(frozen=True)
class Evidence:
    """By sid of a sample asked about; who is missing in a table has nothing to be said there.

    `twins` are (sid, cosine): chosen ones of a rejected sample, rejected ones of a chosen one.
    `serves` are (target, value) that a chosen one serves best, `lost` their number and what they
    would lose without it. `adds` is how many targets a rejected one would raise, and the gain;
    `rivals` who holds its ground: (sid, targets, lead); `ruled` the limits that keep it out, as
    (kind, words). `price` is what gains were divided by to rank, of these and of the last pick.
    """

    twins: dict[int, list[tuple[int, float]]]
    serves: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    lost: dict[int, tuple[int, float]] = field(default_factory=dict)
    adds: dict[int, tuple[int, float]] = field(default_factory=dict)
    rivals: dict[int, list[tuple[int, int, float]]] = field(default_factory=dict)
    ruled: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    price: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def mentioned(self) -> set[int]:
        """The sids of all twins, targets and rivals."""
        return {
            *(sid for found in self.twins.values() for sid, _ in found),
            *(sid for found in self.serves.values() for sid, _ in found),
            *(sid for found in self.rivals.values() for sid, _, _ in found),
        }


def gather(store: Store, stored: StoredSelection, asked: Ids, top: int) -> Evidence:
    """Evidence on the `asked` sids that belong to the version; `top` of each kind are named."""
    asked = np.unique(asked[np.isin(asked, stored.version.sids)])
    if "function" not in stored.row.facts:
        return _of_selector(store, stored, asked, top)
    question = question_of(store, stored.row)
    _check_kernel(stored, question.kernel)
    cosines = _cosines(store, question.kernel, stored.version.sids, asked)
    rejected = ~np.isin(asked, stored.sids)
    ruled, price = _ruled(store, stored, question, asked[rejected])
    evidence = Evidence(_twins(stored, cosines, asked, top), ruled=ruled, price=price)
    served = read_cover(store, stored.row)
    if served is None:
        return replace(evidence, notes=("it was not kept who serves whom: only twins are known",))
    weight, notes = _weight(stored, served)
    lost, serves = _served(stored, served, asked[~rejected], top, weight)
    evidence = replace(evidence, serves=serves, lost=lost, notes=notes)
    if not rejected.any():
        return evidence
    columns = columns_of(question.kernel, served, stored, asked[rejected], cosines[rejected])
    return replace(
        evidence,
        adds=_adds(stored, served, asked[rejected], columns, weight),
        rivals=_rivals(stored, served, asked[rejected], columns, top),
    )


def _of_selector(store: Store, stored: StoredSelection, asked: Ids, top: int) -> Evidence:
    """A selector has no kernel: its picks have twins by cosine, where there are embeddings."""
    try:
        kernel = choose_kernel(store, [stored.version], COSINE, accept_weak=True)
    except Incompatible:
        return Evidence({}, notes=("no twins are known: the dataset has no complete embeddings",))
    cosines = _cosines(store, kernel, stored.version.sids, asked)
    return Evidence(_twins(stored, cosines, asked, top))


def _check_kernel(stored: StoredSelection, kernel: Kernel) -> None:
    """Incompatible if the kernel of that name is not the one that was selected on."""
    row = stored.row
    if kernel.producer.fingerprint != row.facts["inputs"]["kernel"]:
        raise Incompatible(
            f"selection {row.id} stands on an older {row.kernel} than the store reads now",
            hint="select again",
        )


def _ruled(
    store: Store, stored: StoredSelection, question: Question, asked: Ids
) -> tuple[dict[int, list[tuple[str, str]]], dict[int, float]]:
    """Which limits keep rejected samples out, and the price by which gains were ranked."""
    rules = allowed(store, question)
    pool = stored.version.sids
    items = np.searchsorted(pool, stored.sids)
    ruled = {}
    for sid in asked.tolist():
        found = ruled_out(rules.limits, items, int(np.searchsorted(pool, sid)))
        why = [name for name, bits in rules.barred.items() if sid in bits]
        ruled[sid] = [("barred", f"left out as a {name}") for name in why]
        ruled[sid] += [one for one in found if one[0] != "barred"]
    # By gain alone no pick adds more than the one before it; by gain per token one does.
    if rules.limits.costs is None or not (np.diff(stored.gains) > 0).any():
        return ruled, {}
    priced = [*asked.tolist(), int(stored.sids[-1])]
    costs = rules.limits.costs[np.searchsorted(pool, priced)].tolist()
    return ruled, dict(zip(priced, costs, strict=True))


def _weight(stored: StoredSelection, served: Served) -> tuple[float, tuple[str, ...]]:
    """What one covered target stands for: all of them, where `select` looked at some only."""
    if stored.row.facts["plan"]["path"] != "representatives":
        return 1.0, ()
    n, looked_at = len(stored.version.bits), len(served.targets)
    seen = counted(looked_at, "target was", "targets were")
    note = f"{seen} looked at; each stands for {n / looked_at:.1f} of {n:,}"
    return n / looked_at, (note,)


def _cosines(store: Store, kernel: Kernel, pool: Ids, asked: Ids) -> Floats:
    """Cosine of the asked samples with all of the pool, (len(asked), len(pool))."""
    vectors = store.vectors(kernel.embedder, pool)
    return vectors[np.searchsorted(pool, asked)] @ vectors.T


def _twins(
    stored: StoredSelection, cosines: Floats, asked: Ids, top: int
) -> dict[int, list[tuple[int, float]]]:
    pool = stored.version.sids
    chosen = np.isin(pool, stored.sids)
    allowed = chosen[None, :] ^ np.isin(asked, stored.sids)[:, None]
    places, values = largest(cosines, allowed, top)
    return {
        sid: [
            (int(pool[place]), value)
            for place, value in zip(places[k].tolist(), values[k].tolist(), strict=True)
            if place != NOBODY
        ]
        for k, sid in enumerate(asked.tolist())
    }


def _served(
    stored: StoredSelection, served: Served, asked: Ids, top: int, weight: float
) -> tuple[dict[int, tuple[int, float]], dict[int, list[tuple[int, float]]]]:
    """What chosen samples are good for: how much is lost without each, and whom they serve."""
    cover = served.cover
    counts, lost = lost_without(cover, stored.sids, served.level, served.cap)
    held = within(cover.value, served.level, served.cap) > served.level
    rank = {sid: k for k, sid in enumerate(stored.sids.tolist())}
    serves, worth = {}, {}
    for sid in asked.tolist():
        mine = np.flatnonzero((cover.best == sid) & held)
        best = mine[np.argsort(-cover.value[mine], kind="stable")[:top]]
        serves[sid] = [(int(served.targets[i]), float(cover.value[i])) for i in best]
        worth[sid] = int(counts[rank[sid]]), weight * float(lost[rank[sid]])
    return worth, serves


def columns_of(
    kernel: Kernel, served: Served, stored: StoredSelection, asked: Ids, cosines: Floats
) -> Floats:
    """S[:, asked] as (len(asked), n_targets), as `select` saw it.

    Where the samples cover themselves with a learned kernel, an own pair is the best other value.
    """
    pool, targets = stored.version.sids, served.targets
    among = np.isin(targets, pool).all()
    if among and kernel.is_cosine:
        return cosines[:, np.searchsorted(pool, targets)]
    everyone = np.arange(len(asked))
    columns = kernel.view(targets, asked).block(np.arange(len(targets)), everyone).T.copy()
    mine, own = np.nonzero(asked[:, None] == targets[None, :])
    if len(own) and stored.row.objective not in QUERIED and not kernel.is_cosine and len(pool) > 1:
        rows = kernel.view(asked[mine], pool).block(np.arange(len(mine)), np.arange(len(pool)))
        others = np.where(pool[None, :] == asked[mine][:, None], -np.inf, rows)
        columns[mine, own] = others.max(axis=1)
    return columns


def _adds(
    stored: StoredSelection, served: Served, asked: Ids, columns: Floats, weight: float
) -> dict[int, tuple[int, float]]:
    """What rejected samples would add to the whole selection."""
    cover = served.cover
    tolerance = _ROUNDING * float(np.abs(cover.value[np.isfinite(cover.value)]).max(initial=0))
    raised, gains = gains_at_end(columns, cover, served.level, served.cap, tolerance=tolerance)
    facts = stored.row.facts["function"]
    if facts["function"] == "flqmi":
        gains = gains + facts["eta"] * np.maximum(columns.max(axis=1), 0.0)
    told = zip(raised.tolist(), (weight * gains).tolist(), strict=True)
    return dict(zip(asked.tolist(), told, strict=True))


def _rivals(
    stored: StoredSelection, served: Served, asked: Ids, columns: Floats, top: int
) -> dict[int, list[tuple[int, int, float]]]:
    """Who holds the targets that each would serve best, as many as a pick serves on average."""
    ground = max(1, round(len(served.targets) / len(stored.sids)))
    return {
        sid: [
            (one.source, one.n_targets, one.lead)
            for one in rivals(column, served.cover, ground)[:top]
        ]
        for sid, column in zip(asked.tolist(), columns, strict=True)
    }
