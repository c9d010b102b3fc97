"""`duplicates`: which rows of a dataset nearly repeat others, and which of them should stay?

Stored are edges, facts about two contents; clusters follow from them when they are read, since
they change with every row that comes or goes. Two kinds: *words*, the Jaccard similarity of the
rows' runs of words (turns only: a system prompt that all share says nothing), and *twins*, the
cosine of their stored embeddings. A block of edges speaks for its rows once they are compared with
one another and with every row compared before, of whichever dataset; so a new version costs
(new rows) × (all rows), and its edges are those of a run from scratch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import NotFound, UsageError
from influence_store.execution import LOCAL
from influence_store.jobs.cells import response_chars
from influence_store.jobs.duplicate_edges import (
    TWINS,
    WORDS,
    Alike,
    compare,
    edge_producers,
    read_edges,
)
from influence_store.jobs.embed import embedder_of
from influence_store.jobs.samples import read_samples
from influence_store.overlap import clusters as clustering
from influence_store.overlap.clusters import Clusters, Edges, Surplus
from influence_store.query.views import Cells, cells_of
from influence_store.schema.identity import sample_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.execution import Executor
    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

KEEP_FIRST, LONGEST, HIGHEST = "keep-first", "longest", "highest:"

_SHOWN, _HEAD = 3, 72


@dataclass(frozen=True)
class DuplicatesReport:
    """`compared` rows are new; `largest` clusters with the ids and heads of their first rows."""

    dataset: str
    rows: int
    compared: int
    edges: dict[str, int]
    clusters: int
    rows_in_clusters: int
    surplus: int
    largest: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    note: str

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: how many, the largest with their texts, and what to do about them."""
        kinds = {
            WORDS: f"share {self.settings['jaccard']:.0%} of their words' runs",
            TWINS: f"have embeddings with cosine ≥ {self.settings['cosine']:g}",
        }
        told = [
            f"{self.dataset}: {self.rows_in_clusters:,} of {counted(self.rows, 'row')} "
            f"{agree(self.rows_in_clusters, 'is a near duplicate', 'are near duplicates')}, "
            f"in {counted(self.clusters, 'cluster')} "
            f"({counted(self.compared, 'row')} compared now)",
            *[f"  {counted(n, 'pair')} {kinds[how]}" for how, n in self.edges.items()],
            *([f"  note: {self.note}"] if self.note else []),
        ]
        for cluster in self.largest:
            told.append(f"  {counted(cluster['rows'], 'row')}, for example:")
            told += [f"    {one['sample_id'][:12]}  {one['text']}" for one in cluster["examples"]]
        if self.surplus:
            told += self._left_out()
        return told

    def _left_out(self) -> Iterator[str]:
        yield (
            f"select --duplicates {KEEP_FIRST} would leave out {counted(self.surplus, 'row')} "
            f"(or: {LONGEST}, {HIGHEST}COLUMN)"
        )
        # A chain a ~ b ~ c is one cluster, but c is no copy of a: it stays where only b goes.
        if more := self.rows_in_clusters - self.surplus - self.clusters:
            yield (
                f"  of each cluster one row stays, and {counted(more, 'other')} that "
                f"{agree(more, 'repeats', 'repeat')} none of the rows that stay"
            )


def duplicates(
    store: Store, version: Version, alike: Alike | None = None, executor: Executor = LOCAL
) -> DuplicatesReport:
    """Find the near duplicates of `version` and say what they are."""
    alike = alike or Alike()
    compared = compare(store, version, alike, executor)
    found = near_duplicates(store, version, alike)
    kinds = [WORDS, TWINS] if embedder_of(store, version) else [WORDS]
    return DuplicatesReport(
        dataset=str(version),
        rows=len(version.bits),
        compared=compared,
        edges={how: int((found.edges.how == how).sum()) for how in kinds},
        clusters=len(found),
        rows_in_clusters=len(found.sids),
        surplus=len(clustering.surplus(found, None, KEEP_FIRST).sids),
        largest=tuple(_told(store, sids) for sids in found.by_size()[:_SHOWN]),
        settings=asdict(alike),
        note=""
        if TWINS in kinds
        else f"no embeddings, so words only; to compare meanings too: influence-store embed "
        f"{version} --embedder E",
    )


def near_duplicates(
    store: Store, version: Version, alike: Alike | None = None, executor: Executor = LOCAL
) -> Clusters:
    """The clusters of `version`, after comparing those of its rows that never were."""
    alike = alike or Alike()
    compare(store, version, alike, executor)
    return _clusters_by(store, version, edge_producers(store, version, alike))


def _clusters_by(store: Store, version: Version, producers: list[Producer]) -> Clusters:
    parts = []
    for producer in producers:
        a, b, similarity = read_edges(store, producer)
        inside = np.isin(a, version.sids) & np.isin(b, version.sids)
        parts.append((a[inside], b[inside], similarity[inside], producer.name))
    return clustering.clusters(Edges.of(parts))


def stored_clusters(store: Store, version: Version) -> Clusters | None:
    """The clusters of `version` by edges that are stored; None if some row was never compared.

    Of each kind by the newest edges that speak for every row. Writes nothing.
    """
    complete = {
        one.name: one
        for one in store.producers("duplicates")  # oldest first
        if not store.missing(version, one)
    }
    if WORDS not in complete:
        return None
    return _clusters_by(store, version, list(complete.values()))


def surplus(store: Store, version: Version, found: Clusters, policy: str) -> Surplus:
    """The rows to leave out, where of near duplicates one stays: which, `policy` says.

    keep-first: the lowest sid, the row that came first; longest: the most characters of response;
    highest:COLUMN: the largest stored value, e.g. highest:inf_ifd; rows without one come last.
    UsageError for another policy, NotFound for a column that is not stored.
    """
    check_policy(store, policy)
    if policy == KEEP_FIRST:
        return clustering.surplus(found, None, policy)
    if policy == LONGEST:
        chars = response_chars(store, found.sids)
        return clustering.surplus(found, dict(zip(found.sids.tolist(), chars, strict=True)), policy)
    producer, column = Cells.of(store).scalars[policy.removeprefix(HIGHEST)]
    cells = cells_of(store, producer, column, version).drop_nulls()
    score = dict(zip(cells["sid"].to_list(), cells[column].to_list(), strict=True))
    return clustering.surplus(found, score, policy)


def check_policy(store: Store, policy: str) -> None:
    """UsageError for an unknown policy, NotFound for a column that is not stored."""
    if policy in (KEEP_FIRST, LONGEST):
        return
    if not policy.startswith(HIGHEST):
        raise UsageError(
            f"{policy!r} is no policy for duplicates",
            hint=f"say one of: {KEEP_FIRST}, {LONGEST}, {HIGHEST}COLUMN",
        )
    name, known = policy.removeprefix(HIGHEST), Cells.of(store).scalars
    if name not in known:
        raise NotFound.named("column", name, known, hint="see: influence-store status")


def _told(store: Store, sids: Ids) -> dict[str, Any]:
    _, samples = read_samples(store, BitMap(sids[:_SHOWN].astype(np.uint32)))
    return {"rows": len(sids), "examples": list(_heads(samples))}


def _heads(samples: list[Sample]) -> Iterator[dict[str, str]]:
    for one in samples:
        head = " ".join(f"{one.prompt[: 2 * _HEAD]} → {one.response[:_HEAD]}".split())
        yield {"sample_id": sample_id(one).hex(), "text": head[: 2 * _HEAD]}
