"""What does a report say of influence, of its estimates, and of how far methods agree?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from influence_store.report.values import Spread


@dataclass(frozen=True)
class SourceSpread:
    """The values of one column in the rows of one source."""

    source: str
    spread: Spread


@dataclass(frozen=True)
class InfluenceColumn:
    """One column of the version: `measured` by a method, `imported`, or an `estimate`.

    `verdict` is that of an estimate's card, empty for the others. `rows` have a value, `null`
    could not be measured, the rest were not asked.
    """

    name: str
    kind: str
    method: str
    verdict: str
    higher_means: str
    rows: int
    null: int
    spread: Spread | None
    by_source: tuple[SourceSpread, ...]


@dataclass(frozen=True)
class PairValues:
    """Teacher values S[target, source] of labelled pairs whose both samples are in the version.

    `by_source` goes by where the source sample came from.
    """

    method: str
    output: str
    higher_means: str
    pairs: int
    null: int
    spread: Spread | None
    by_source: tuple[SourceSpread, ...]


@dataclass(frozen=True)
class Influence:
    """All that is stored of the influence of this version's rows."""

    columns: tuple[InfluenceColumn, ...]
    pairs: tuple[PairValues, ...]


@dataclass(frozen=True)
class Agreement:
    """Two columns on the rows that have both.

    `rank` is Spearman's correlation. `top` is the share of the highest tenth by one that is in the
    highest tenth by the other; a guess finds `of_a_guess`. None where fewer than ten rows have
    both, or one column has no order.
    """

    a: str
    b: str
    rows: int
    rank: float | None
    top: float | None
    of_a_guess: float | None


@dataclass(frozen=True)
class Overlap:
    """Every pair of `columns`, the first named before the second."""

    columns: tuple[str, ...]
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True)
class Between:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Rival:
    """One way to predict, judged on what none had seen; `interval` where the card stores one.

    `rank` is Spearman's correlation (of pairs: per target), 1 the same order. `top` is the share
    of the best that it finds, beside that of a guess. `gain` is of a set picked by it at `share`
    of the sources: 0 is random, 1 the teacher's own choice.
    """

    name: str
    rank: float | None
    interval: Between | None
    r2: float | None
    top: float | None
    top_of_a_guess: float | None
    gain: float | None


@dataclass(frozen=True)
class Card:
    """The accuracy card of one estimator; `rivals` best rank first, itself among them.

    `judged` is the number of predictions behind every figure, `share` the part of the sources
    behind `gain`. `differences` name what the kept network's rank has over that of a rival.
    """

    estimator: str
    fingerprint: str
    method: str
    output: str
    network: str
    trained_on: str
    verdict: str
    of_pairs: bool
    judged: int
    share: float | None
    rivals: tuple[Rival, ...]
    differences: tuple[Difference, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """The rank correlation of the kept network minus that of a rival, on the same samples."""

    over: str
    interval: Between
