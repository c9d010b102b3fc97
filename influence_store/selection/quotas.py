"""How many samples of each source, licence or category? `source:web=..30%`, `licence:cc-by=100..`.

A quota bounds how many of the chosen have one value of an attribute: `floor..ceiling`, each a
number of samples or a share of the budget, either may be left out. `*` stands for every value that
has no quota of its own. The values of one attribute divide the samples into groups, a partition;
two attributes do not (a sample would be in two groups), so they are refused.

Whole samples are chosen: at least 30% of 5 are 2, at most 30% of 5 are 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import NotFound, UsageError
from influence_store.selection.budget import Amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Ids

EVERY_OTHER = "*"
_FORM = "say --quota ATTRIBUTE:VALUE=FLOOR..CEILING, e.g. --quota source:web=..30%"


@dataclass(frozen=True)
class Quota:
    """At least `floor` and at most `ceiling` of the chosen have `value` as their `attribute`."""

    attribute: str
    value: str
    floor: Amount | None
    ceiling: Amount | None
    text: str


@dataclass(frozen=True)
class QuotaGroups:
    """Groups in the order of their `names` (g,); `groups` (n,) numbers that of each sample.

    Of group k at least `floors[k]` and at most `ceilings[k]` samples are to be chosen, both (g,).
    The fields are those of `limits.Limits`: `Limits(budget, **vars(found))`.
    """

    names: tuple[str, ...]
    groups: Ids
    floors: Ids
    ceilings: Ids


def parse_quota(text: str) -> Quota:
    """From `ATTRIBUTE:VALUE=FLOOR..CEILING`; a value may hold `:` and `=`. UsageError otherwise."""
    subject, equals, bounds = text.strip().rpartition("=")
    attribute, colon, value = (part.strip() for part in subject.partition(":"))
    low, dots, high = bounds.partition("..")
    if not (equals and colon and attribute and value):
        raise UsageError(f"{text!r} is not a quota", hint=_FORM)
    if not dots:
        raise UsageError(
            f"quota {text.strip()} does not say whether it is a floor or a ceiling",
            hint=f"at most: {subject}=..{bounds.strip()}; at least: {subject}={bounds.strip()}..",
        )
    floor, ceiling = _bound(low, text), _bound(high, text)
    if floor is None and ceiling is None:
        raise UsageError(f"quota {text.strip()} has neither a floor nor a ceiling", hint=_FORM)
    return Quota(attribute, value, floor, ceiling, text.strip())


def attribute_of(quotas: Sequence[Quota]) -> str:
    """The one attribute that all `quotas` speak of; UsageError if there are two."""
    named = list(dict.fromkeys(quota.attribute for quota in quotas))
    if len(named) != 1:
        raise UsageError(
            f"quotas on {' and '.join(named) or 'nothing'}: a sample has a value of each, so their "
            "groups overlap, and greedy keeps quotas of groups that do not",
            hint=f"keep the quotas on one of them, e.g. {named[0]}" if named else _FORM,
        )
    return named[0]


def quota_groups(
    quotas: Sequence[Quota], attributes: Sequence[str], budget: int, *, shares: bool = True
) -> QuotaGroups:
    """What `quotas` mean for `budget` samples, where sample i has the value `attributes[i]`.

    Floors are rounded up and ceilings down; values without a quota are bounded by their own size.
    `shares=False` refuses shares, where the number of samples is not known beforehand (tokens,
    auto) and `budget` is only its limit.

    NotFound for a value that no sample has. UsageError, with the numbers, where no selection can
    keep all quotas: a floor above the ceiling or the size of its group, floors above the budget,
    ceilings below it.
    """
    attribute = attribute_of(quotas)
    names = tuple(sorted(set(attributes)))
    number = {name: k for k, name in enumerate(names)}
    groups = np.array([number[value] for value in attributes], np.int64)
    sizes = np.bincount(groups, minlength=len(names)).astype(np.int64)
    by_value = _by_value(quotas, names)
    if not shares:
        _refuse_shares(quotas)
    floors, ceilings = np.zeros(len(names), np.int64), sizes.copy()
    for k, name in enumerate(names):
        if (quota := by_value.get(name, by_value.get(EVERY_OTHER))) is not None:
            floors[k], ceilings[k] = _bounds(quota, name, int(sizes[k]), budget)
    _check_sums(attribute, floors, ceilings, budget, exactly=shares)
    return QuotaGroups(names, groups, floors, ceilings)


def _bound(text: str, whole: str) -> Amount | None:
    asked = text.strip()
    if not asked:
        return None
    amount = Amount.parse(asked)
    if amount is None:
        raise UsageError(f"{asked!r} in quota {whole.strip()} is no number or share", hint=_FORM)
    if amount.relative and amount.number > 1:
        raise UsageError(f"{asked} in quota {whole.strip()} is more than everything", hint=_FORM)
    return amount


def _by_value(quotas: Sequence[Quota], names: Sequence[str]) -> dict[str, Quota]:
    by_value: dict[str, Quota] = {}
    for quota in quotas:
        if quota.value in by_value:
            raise UsageError(
                f"two quotas for {quota.attribute}:{quota.value}: "
                f"{by_value[quota.value].text} and {quota.text}",
                hint="say both bounds in one, e.g. 100..500",
            )
        if quota.value != EVERY_OTHER and quota.value not in names:
            raise NotFound.named(quota.attribute, quota.value, names)
        by_value[quota.value] = quota
    return by_value


def _refuse_shares(quotas: Sequence[Quota]) -> None:
    for quota in quotas:
        if any(bound is not None and bound.relative for bound in (quota.floor, quota.ceiling)):
            raise UsageError(
                f"quota {quota.text} is a share, but how many samples this budget will take is "
                "not known beforehand",
                hint="give a number of samples in the quota, or a budget of samples",
            )


def _bounds(quota: Quota, name: str, size: int, budget: int) -> tuple[int, int]:
    """Floor and ceiling of one group in samples."""
    floor = 0 if quota.floor is None else quota.floor.at_least(budget)
    ceiling = size if quota.ceiling is None else quota.ceiling.at_most(budget)
    told = f"quota {quota.text} for {quota.attribute}:{name}"
    if quota.ceiling is not None and floor > ceiling:
        raise UsageError(
            f"{told} asks for at least {floor} and at most {ceiling} of {budget} samples",
            hint="raise the ceiling, or lower the floor",
        )
    if floor > size:
        raise UsageError(
            f"{told} asks for at least {floor} samples, and there are {size}",
            hint=f"lower the floor to {size} or less",
        )
    return floor, min(ceiling, size)


def _check_sums(attribute: str, floors: Ids, ceilings: Ids, budget: int, *, exactly: bool) -> None:
    """UsageError unless Σ floors ≤ budget ≤ Σ ceilings (the latter only if `exactly`)."""
    if floors.sum() > budget:
        raise UsageError(
            f"the quotas on {attribute} ask for at least {floors.sum()} samples in all, and the "
            f"budget is {budget}",
            hint="lower the floors, or raise the budget",
        )
    if exactly and ceilings.sum() < budget:
        raise UsageError(
            f"the quotas on {attribute} allow at most {ceilings.sum()} samples in all, and the "
            f"budget is {budget}",
            hint="raise the ceilings, or lower the budget",
        )
