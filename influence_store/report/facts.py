"""What stands in a report: plain values, gathered once; the page and `--json` only show them.

A section for which nothing is stored is `Missing`: what is not there, and the command that would
bring it. Times are seconds since 1970 as the catalog stored them; the report itself has no time,
so the same store gives the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: The page holds positions of its map as integers from 0 to this, per axis.
GRID = 4095


@dataclass(frozen=True)
class Missing:
    """Why a section is empty, in one sentence, and the command that would fill it."""

    missing: str
    command: str


@dataclass(frozen=True)
class Count:
    """How many rows have the value `name`."""

    name: str
    rows: int


@dataclass(frozen=True)
class Spread:
    """Where values lie: their number, mean, extremes and percentiles (linear between ranks)."""

    n: int
    mean: float
    low: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """`counts` (n,) of values in [edges[k], edges[k + 1]); the last edge belongs to the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Lengths:
    """Characters of one part of the samples, prompt or response."""

    part: str
    spread: Spread
    histogram: Histogram


@dataclass(frozen=True)
class VersionRow:
    """One version of the dataset and what its ingest did with every input row.

    `how` is how rows left: a file of rows to remove, a snapshot, or nothing.
    """

    number: int
    created_at: float
    tags: tuple[str, ...]
    rows: int
    new: int
    kept: int
    removed: int
    how: str
    repeated: int
    duplicates: int
    rejected: int
    forgotten: int


@dataclass(frozen=True)
class NearDuplicates:
    """Rows with a near duplicate by stored edges; `surplus` would go if the first ones stayed."""

    rows: int
    clusters: int
    largest: int
    surplus: int


@dataclass(frozen=True)
class Contents:
    """What is in the version. `sources` and `formats` are most frequent first."""

    rows: int
    sources: tuple[Count, ...]
    formats: tuple[Count, ...]
    shapes: tuple[Count, ...]
    lengths: tuple[Lengths, ...]
    near_duplicates: NearDuplicates | Missing
    versions: tuple[VersionRow, ...]
    forgotten: tuple[Count, ...]


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


@dataclass(frozen=True)
class Spent:
    """What the runs of one verb used, failed ones included; seconds are the runs' own."""

    verb: str
    runs: int
    seconds: float
    llm_passes: int
    llm_tokens: int
    embeddings: int
    fills: int


@dataclass(frozen=True)
class Everything:
    """What labelling all of it would take with one method, beside what was labelled.

    `cells` are rows, or ordered pairs of two rows; `labelled` of them have a stored value.
    `seconds_per_cell` was measured in this store's runs, None where no run measured it; the
    `seconds` of all cells are extrapolated from it.
    """

    method: str
    unit: str
    cells: int
    labelled: int
    seconds_per_cell: float | None
    seconds: float | None


@dataclass(frozen=True)
class Cost:
    """The ledger of the runs that name this dataset."""

    spent: tuple[Spent, ...]
    everything: tuple[Everything, ...]


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

    `way` is its place between random (0) and this selection (1), None where the two are equal.
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
    words: tuple[str, ...]


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
class Example:
    """One sample: its texts cut, with how many characters follow; its rank if it was selected."""

    sample_id: str
    value: float
    source: str
    rank: int | None
    prompt: str
    prompt_more: int
    response: str
    response_more: int


@dataclass(frozen=True)
class ExampleGroup:
    """Samples from one end or the middle of a column."""

    name: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Examples:
    """Texts by the value of `column`."""

    column: str
    higher_means: str
    groups: tuple[ExampleGroup, ...]


@dataclass(frozen=True)
class MapSource:
    """Where the points of one source lie: their middle, in steps of the map, and who was chosen."""

    source: str
    points: int
    selected: int
    median: float | None
    x: float
    y: float


@dataclass(frozen=True)
class Map:
    """The two directions of the embeddings in which they differ most, for `points` of `rows`.

    `x` and `y` are in steps of 1/GRID of the longer side, (points,). `tenth` is that of the
    column's values, 1 the lowest, 0 no value; `borders` are the values between the tenths.
    `explained` is the share of all variance along each direction. `seed` drew the points where
    they are not all rows.
    """

    embedder: str
    column: str
    rows: int
    points: int
    seed: int
    explained: tuple[float, float]
    borders: tuple[float, ...]
    sources: tuple[MapSource, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    tenth: tuple[int, ...]
    selected: tuple[int, ...]


@dataclass(frozen=True)
class ReportFacts:
    """Everything that a report shows."""

    dataset: str
    version: int
    tool: str
    contents: Contents
    influence: Influence | Missing
    accuracy: tuple[Card, ...] | Missing
    cost: Cost | Missing
    selection: SelectionFacts | Missing
    overlap: Overlap | Missing
    examples: Examples | Missing
    map: Map | Missing

    @property
    def name(self) -> str:
        """`dataset@version`."""
        return f"{self.dataset}@{self.version}"

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return asdict(self)
