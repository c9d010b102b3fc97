"""What may a selection hold? Budget, quotas, near duplicates, leaks and earlier picks as limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import UsageError
from influence_store.execution import LOCAL
from influence_store.jobs.attributes import attributes
from influence_store.jobs.leaks import leaks
from influence_store.jobs.near_duplicates import check_policy, near_duplicates, surplus
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.token_counts import token_counts
from influence_store.schema.identity import fingerprint
from influence_store.selection.limits import Limits
from influence_store.selection.quotas import attribute_of, parse_quota, quota_groups

if TYPE_CHECKING:
    from influence_store.execution import Executor
    from influence_store.jobs.question import Question
    from influence_store.protocols import Ids
    from influence_store.store.store import Store


_ARRAYS = ("costs", "groups", "floors", "ceilings", "start", "barred")


@dataclass(frozen=True)
class Allowed:
    """`limits` over the sids of the version; `barred` by reason; `tokens` (n,) where counted.

    `facts` are what the limits rest on, ready for JSON.
    """

    limits: Limits
    barred: dict[str, BitMap]
    tokens: Ids | None
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of the limits themselves: equal limits, however they came about, are equal."""
        arrays = {name: getattr(self.limits, name) for name in _ARRAYS}
        return fingerprint(
            {
                "budget": self.limits.budget,
                "most": str(self.limits.most),
                **{k: None if v is None else v.tobytes().hex() for k, v in arrays.items()},
            }
        )

    def with_leaks(self, sids: Ids) -> Limits:
        """The same limits with the leaks let in: what they would add is told."""
        others = BitMap.union(BitMap(), *[b for why, b in self.barred.items() if why != "leak"])
        return replace(self.limits, barred=_flags(sids, others))


def allowed(store: Store, question: Question, executor: Executor = LOCAL) -> Allowed:
    """UsageError in the first second where the limits cannot be kept.

    `executor` compares rows that were never compared, where near duplicates stay out.
    """
    if question.duplicates is not None:
        check_policy(store, question.duplicates)
    sids = question.version.sids
    barred, notes = _barred(store, question, executor)
    facts: dict[str, Any] = {"barred": {why: len(bits) for why, bits in barred.items()}}
    out = BitMap.union(BitMap(), *barred.values())
    start, told = _start(store, question, out)
    notes += told
    tokens, free = None, len(sids) - len(out)
    limits = Limits(free, barred=_flags(sids, out))
    if question.budget.tokens is not None or question.tokenizer is not None:
        lengths = token_counts(store, question.version, question.tokenizer)
        tokens, facts["tokens"] = lengths.counts, lengths.facts()
    if question.budget.tokens is not None:
        assert tokens is not None
        most = question.budget.tokens_of(tokens)
        limits = replace(limits, costs=tokens.astype(np.float64), most=float(most))
    elif not question.budget.auto:
        limits = replace(limits, budget=_count(question, len(sids), free))
    if question.quotas:
        quotas = [parse_quota(text) for text in question.quotas]
        values = attributes(store, question.version, attribute_of(quotas))
        counted_samples = question.budget.samples is not None
        found = quota_groups(quotas, values, limits.budget, shares=counted_samples)
        limits = replace(limits, **vars(found))
    if limits.budget and len(start) > limits.budget:
        raise UsageError(
            f"--budget {question.budget.text} is {counted(limits.budget, 'sample')}, and "
            f"{counted(len(start), 'pick')} of {question.start} "
            f"{agree(len(start), 'stays', 'stay')}",
            hint=f"ask for more than {len(start):,}, or leave out --from",
        )
    limits = replace(limits, start=start)
    limits.check(len(sids))
    return Allowed(limits, barred, tokens, facts, notes)


def _count(question: Question, n: int, free: int) -> int:
    """How many samples; a budget that asks for all gets all that are free."""
    count = question.budget.count(n)
    if count > free and count < n:
        raise UsageError(
            f"budget {question.budget.text} asks for {counted(count, 'sample')} and "
            f"{free} of {n} may be "
            "picked; the others are near duplicates or leaks",
            hint=f"ask for {free} or fewer",
        )
    return min(count, free)


def _barred(
    store: Store, question: Question, executor: Executor
) -> tuple[dict[str, BitMap], tuple[str, ...]]:
    """Sids that may not be picked, by reason, and what to say of it."""
    barred: dict[str, BitMap] = {}
    notes: list[str] = []
    version = question.version
    for aim in question.aims:
        if aim.version.dataset == version.dataset:
            continue  # a dataset chosen for itself holds itself
        found = leaks(store, version, aim.version)
        if not len(found.bits):
            continue
        n = len(found.bits)
        told = f"{counted(n, 'row')} of {version} {agree(n, 'leaks', 'leak')} {aim.version}"
        see = f"see: influence-store leaks {version} --target {aim.version}"
        if question.keep_leaks:
            notes.append(f"{told} and {agree(n, 'stays', 'stay')} in play; {see}")
            continue
        barred["leak"] = barred.get("leak", BitMap()) | found.bits
        notes.append(f"{told} and {agree(n, 'is', 'are')} left out; {see}")
    if question.duplicates is not None:
        found_copies = near_duplicates(store, version, executor=executor)
        copies = surplus(store, version, found_copies, question.duplicates)
        barred["near duplicate"] = copies.bits
        notes.append(
            f"{counted(len(copies.bits), 'near duplicate')} of rows that stay "
            f"{agree(len(copies.bits), 'is', 'are')} left out ({question.duplicates})"
        )
    return barred, tuple(notes)


def _start(store: Store, question: Question, barred: BitMap) -> tuple[Ids, tuple[str, ...]]:
    """Positions of the earlier picks that are still there, in their order."""
    if question.start is None:
        return np.zeros(0, np.int64), ()
    earlier = stored_selection(store, question.start).sids
    stays = np.isin(earlier, question.version.sids) & ~np.isin(earlier, barred.to_array())
    notes: tuple[str, ...] = ()
    if gone := int((~stays).sum()):
        notes = (
            f"{counted(gone, 'pick')} of {question.start} {agree(gone, 'is', 'are')} not in "
            f"{question.version} or barred",
        )
    return np.searchsorted(question.version.sids, earlier[stays]), notes


def _flags(sids: Ids, bits: BitMap) -> Any:
    return np.isin(sids, np.asarray(bits.to_array(), np.int64))
