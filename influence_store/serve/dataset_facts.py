"""What the pages tell of datasets: state, versions, sources, columns with their verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.counted import agree, counted
from influence_store.jobs.attributes import FILE, attributes
from influence_store.jobs.estimators import all_estimators
from influence_store.jobs.status import status
from influence_store.query.views import Cells

if TYPE_CHECKING:
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: A dataset may come from very many files; those with most rows are told.
MOST_SOURCES = 50


@dataclass(frozen=True)
class State:
    """How many rows of a dataset's newest version have what; `lacks` is the command for the rest.

    `labelled` rows have a value of their own or stand in a labelled pair.
    """

    name: str
    version: int
    rows: int
    tags: tuple[str, ...]
    embedded: int
    labelled: int
    filled: int
    drift: tuple[str, ...]

    @property
    def lacks(self) -> str:
        """The next command."""
        if self.embedded < self.rows:
            return f"influence-store embed {self.name} --embedder EMBEDDER"
        if not self.labelled:
            return f"influence-store label {self.name} --model MODEL"
        return "" if self.filled else f"influence-store fill {self.name}"


@dataclass(frozen=True)
class Column:
    """A column of influence of one version: `rows` of it have a value.

    `higher` is what a higher value means; `verdict` is empty for what was measured.
    """

    name: str
    producer: str
    measured: bool
    higher: str
    rows: int
    verdict: str


@dataclass(frozen=True)
class Source:
    """A file, and how many rows of the version came from it first."""

    file: str
    rows: int


def overview(store: Store) -> dict[str, Any]:
    """Every dataset with its state, and who is at work."""
    told = status(store)
    drifts = {one["dataset"]: one["drift"] for one in told.datasets}
    tags = {one["dataset"]: one["tags"] for one in told.datasets}
    labels = [one for kind in ("pairs", "points", "vectors") for one in store.producers(kind)]
    states = [
        State(
            name=version.dataset,
            version=version.number,
            rows=len(version.bits),
            tags=tuple(f"{one['name']} = @{one['version']}" for one in tags[version.dataset]),
            embedded=_most(store, version, store.producers("embedding")),
            labelled=_most(store, version, labels),
            filled=_most(store, version, store.producers("estimate")),
            drift=tuple(
                f"{one['estimator']}: {one['outside']:,} of {counted(one['rows'], 'new row')} "
                f"{agree(one['outside'], 'is', 'are')} unlike "
                "those it was taught on"
                for one in drifts[version.dataset]
            ),
        )
        for version in store.heads()
    ]
    return {
        "datasets": states,
        "contents": told.contents,
        "selections": told.selections,
        "estimators": told.estimators,
        "working": told.working,
        "interrupted": told.interrupted,
    }


def columns_of(store: Store, version: Version) -> list[Column]:
    """The columns of influence that any row of `version` has, as SQL calls them."""
    verdicts = {one.producer.id: one.row.verdict for one in all_estimators(store)}
    covered: dict[int | None, int] = {}
    found = []
    for name, (producer, _) in Cells.of(store).scalars.items():
        if producer.id not in covered:
            covered[producer.id] = len(version.bits & store.covered(producer.id or 0))
        if rows := covered[producer.id]:
            measured = producer.kind == "points"
            verdict = verdicts.get(producer.id, "")
            found.append(
                Column(name, producer.name, measured, producer.higher_means, rows, verdict)
            )
    return found


def sources_of(store: Store, version: Version) -> list[Source]:
    """Where the rows come from, most rows first."""
    counted = Counter(attributes(store, version, FILE))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [Source(*one) for one in ordered]


def _most(store: Store, version: Version, producers: list[Any]) -> int:
    """Rows that the most complete of these producers has a value for."""
    return max((len(version.bits & store.covered(one.id)) for one in producers), default=0)
