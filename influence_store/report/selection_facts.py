"""What does a report say of a selection and of its rivals?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """The value of the first `picks` of a selection, and its part of the whole, 0 to 1."""

    picks: int
    value: float
    share: float


@dataclass(frozen=True)
class Knee:
    """Where another pick stops paying; `bend` is the height above the straight line, 0 to 1."""

    picks: int
    share: float
    bend: float


@dataclass(frozen=True)
class RandomSets:
    """The same objective for random sets under the same limits."""

    draws: int
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Reference:
    """The same objective for a set that a cheaper rule picks.

    `way` is its place between random (0) and this selection (1), None where the selection is not
    above random.
    """

    name: str
    value: float
    way: float | None


@dataclass(frozen=True)
class Group:
    """How many rows of one value of the quota's attribute there are and were picked."""

    name: str
    picked: int


@dataclass(frozen=True)
class TrialRow:
    """What a trial found of this selection against one baseline; `baseline` is its kind.

    `mean`, `low` and `high` are of the losses that the baseline has more, in `unit`; None where
    there was nothing to compare or too little to tell.
    """

    trial: str
    learner: str
    held: int
    against: str
    baseline: str
    mean: float | None
    low: float | None
    high: float | None
    unit: str
    words: str


@dataclass(frozen=True)
class SelectionFacts:
    """A stored selection beside its stored rivals; `measure` is what `value` is counted in."""

    id: str
    dataset: str
    same_version: bool
    objective: str
    kernel: str
    budget: str
    picks: int
    rows: int
    measure: str
    value: float | None
    gained: int | None
    curve: tuple[CurvePoint, ...]
    knee: Knee | None
    random: RandomSets | None
    references: tuple[Reference, ...]
    not_compared: tuple[str, ...]
    quotas: tuple[str, ...]
    groups: tuple[Group, ...]
    trials: tuple[TrialRow, ...]
    words: tuple[str, ...]
