"""`explain`: why is a sample in a selection, and why is another one not?

Read from what is stored: the order and its gains, who serves whom, the vectors behind the kernel.
No model runs, and one call answers for any number of samples at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from influence_store.jobs.cells import sids_named
from influence_store.jobs.evidence import gather
from influence_store.jobs.explained import Ahead, ExplainReport, Named, Near, WhyIn, WhyNot
from influence_store.jobs.stored_selection import names_of, stored_selection
from influence_store.selection.explain import expected_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.jobs.evidence import Evidence
    from influence_store.jobs.explained import Reason
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.store.store import Store

    Name = Callable[[int], Named]

#: Cosine from which two samples count as twins, and from which their vectors are the same.
TWIN, SAME = 0.95, 1 - 1e-6
LIMITED: tuple[Literal["quota", "cost"], ...] = ("quota", "cost")
#: A gain computed here and the one of `select` may differ by so much of it.
_ROUNDING = 1e-6


def explain(store: Store, selection: str, samples: Sequence[str], *, top: int = 3) -> ExplainReport:
    """Why each of `samples` (ids or their unique beginnings) is in the selection, or is not.

    `top` is how many targets, twins and rivals are named of each. NotFound if the selection or a
    sample is unknown.
    """
    stored = stored_selection(store, selection)
    asked = sids_named(store, samples)
    evidence = gather(store, stored, asked, top)
    rank = {sid: k + 1 for k, sid in enumerate(stored.sids.tolist())}
    names = names_of(store, evidence.mentioned() | set(asked.tolist()))

    def name(sid: int) -> Named:
        return Named(names.ids[sid], names.prompts[sid], rank.get(sid))

    row = stored.row
    return ExplainReport(
        selection=row.id,
        dataset=str(stored.version),
        objective=row.objective,
        kernel=row.kernel,
        n_items=row.n_items,
        notes=evidence.notes,
        samples=tuple(
            (_why_in if sid in rank else _why_not)(stored, evidence, name, sid)
            for sid in asked.tolist()
        ),
    )


def _why_in(stored: StoredSelection, evidence: Evidence, name: Name, sid: int) -> WhyIn:
    sample = name(sid)
    assert sample.rank is not None
    gain, whole = float(stored.gains[sample.rank - 1]), float(np.nansum(stored.gains))
    additive = "function" in stored.row.facts  # what a selector calls its gain does not add up
    n_served, lost = evidence.lost.get(sid, (None, None))
    return WhyIn(
        sample=sample,
        gain=None if np.isnan(gain) else gain,
        share=gain / whole if additive and whole > 0 else None,
        n_served=n_served,
        lost=lost,
        served=_near(evidence.serves.get(sid, []), name),
        displaced=_near(evidence.twins.get(sid, []), name),
    )


def _why_not(stored: StoredSelection, evidence: Evidence, name: Name, sid: int) -> WhyNot:
    adds = evidence.adds.get(sid)
    last = float(stored.gains[-1]) if len(stored.gains) else float("nan")
    twins = _near(evidence.twins.get(sid, []), name)
    reason, because = _reason(stored, evidence, sid, twins)
    waits = adds is not None and reason in ("twin", "below") and not evidence.price
    return WhyNot(
        sample=name(sid),
        reason=reason,
        because=because,
        gain=adds[1] if adds else None,
        last_gain=None if np.isnan(last) else last,
        n_raised=adds[0] if adds else None,
        expected_rank=_expected(stored, adds[1]) if adds and waits else None,
        ahead=tuple(Ahead(n, lead, name(one)) for one, n, lead in evidence.rivals.get(sid, [])),
        twins=twins,
    )


def _expected(stored: StoredSelection, gain: float) -> int | None:
    """The rank that a bigger budget would give it; None where the pool has not so many."""
    rank = expected_rank(stored.gains, gain)
    return rank if rank is not None and rank <= len(stored.version.bits) else None


def _reason(
    stored: StoredSelection, evidence: Evidence, sid: int, twins: tuple[Near, ...]
) -> tuple[Reason, str]:
    """The first reason that holds, in words."""
    if sid not in stored.version.bits:
        return "absent", f"it is not in {stored.version}"
    ruled = evidence.ruled.get(sid, [])
    if ruled and ruled[0][0] == "barred":
        return "barred", ruled[0][1]
    adds = evidence.adds.get(sid)
    if adds is not None and _above_last(stored, evidence, sid, adds[1]):
        # Only then is a limit the reason: without it the sample would have come.
        for kind in LIMITED:
            for found, told in ruled:
                if found == kind:
                    return kind, told
        told = "it would add more than the last pick did: the way of choosing was not exact"
        return "overlooked", told
    if twins and twins[0].value >= TWIN:
        kind_of = "the same vector as" if twins[0].value >= SAME else "a near-twin of"
        pick = twins[0].sample
        told = f"pick {pick.sample_id[:12]} (rank {pick.rank:,}, cosine {twins[0].value:.4f})"
        return "twin", f"{kind_of} {told}"
    if adds is None:
        return "unranked", f"{stored.row.objective} keeps nothing of samples that it does not pick"
    if adds[0] == 0:
        return "dominated", "every target is served as well or better by what is chosen"
    per = " per token" if evidence.price else ""
    return "below", f"what it would add{per} is less than what the last pick added"


def _above_last(stored: StoredSelection, evidence: Evidence, sid: int, gain: float) -> bool:
    """Whether greedy would have ranked the sample above the last pick."""
    price, last = evidence.price, int(stored.sids[-1])
    bar = float(stored.gains[-1]) / price.get(last, 1.0)
    return gain / price.get(sid, 1.0) > bar * (1 + _ROUNDING)


def _near(found: list[tuple[int, float]], name: Name) -> tuple[Near, ...]:
    return tuple(Near(value, name(sid)) for sid, value in found)
