"""What stands in a report: plain values, gathered once; the page and `--json` only show them.

A section for which nothing is stored is `Missing`: what is not there, and the command that would
bring it. Times are seconds since 1970 as the catalog stored them; the report itself has no time,
so the same store gives the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence_store.report.influence_facts import Card, Influence, Overlap
    from influence_store.report.selection_facts import SelectionFacts
    from influence_store.report.values import Count, Missing, Spread

#: The page holds positions of its map as integers from 0 to this, per axis.
GRID = 4095


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
class Spent:
    """What the runs of one verb used, failed ones included; seconds are the runs' own.

    CPU and GPU seconds are 0 in runs of tools that did not count them.
    """

    verb: str
    runs: int
    seconds: float
    cpu_seconds: float
    gpu_seconds: float
    llm_passes: int
    llm_tokens: int
    embeddings: int
    fills: int


@dataclass(frozen=True)
class Everything:
    """What labelling all of it would take with one method, beside what was labelled.

    `cells` are rows, or pairs of a row and a target; the store's runs labelled `labelled` of them.
    `seconds_per_cell` was measured in these, None where none took it down; the `seconds` of all
    cells, and of the fine-tuning that the method needs, are extrapolated from it.
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
