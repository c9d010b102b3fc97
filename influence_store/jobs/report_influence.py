"""What is stored of the influence of a version's rows, and how far its methods agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from influence_store.errors import NotFound
from influence_store.jobs.estimators import all_estimators
from influence_store.jobs.report_rows import spread
from influence_store.network.figures import spearman
from influence_store.query.views import Cells, cells_of
from influence_store.report.influence_facts import (
    Agreement,
    Influence,
    InfluenceColumn,
    Overlap,
    PairValues,
)
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.jobs.report_rows import Rows
    from influence_store.protocols import Doubles, Flags, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store

#: Fewer common rows say nothing about an order.
FEWEST = 10
TENTH = 0.1
#: Verdicts of columns that speak for themselves; what is measured has none.
_BELIEVED = ("", "trusted", "weak")


@dataclass(frozen=True)
class Column:
    """A stored column of a version: its values (m,), all finite, at `places` (m,) of the rows.

    `null` rows were asked and could not be measured.
    """

    name: str
    producer: Producer
    places: Ids
    values: Doubles
    null: int

    @property
    def kind(self) -> str:
        """Whether a method `measured` it, a file `imported` it, or a network made an `estimate`."""
        if self.producer.kind == "estimate":
            return "estimate"
        return "imported" if "imported" in self.producer.facts else "measured"


def columns_of(store: Store, rows: Rows) -> tuple[Column, ...]:
    """The influence columns that have a cell for some row of the version, oldest method first."""
    found = []
    for name, (producer, stored) in Cells.of(store).scalars.items():
        cells = cells_of(store, producer, stored, rows.version)
        if not cells.height:
            continue
        values = cells[stored].cast(pl.Float64).to_numpy()
        finite = np.isfinite(values)
        places = rows.places(cells["sid"].to_numpy()[finite])
        null = int((~finite).sum())
        found.append(Column(name, producer, places, values[finite], null))
    return tuple(
        sorted(found, key=lambda one: (one.kind == "estimate", one.producer.id or 0, one.name))
    )


def chosen_column(store: Store, columns: Sequence[Column], by: str | None) -> Column | None:
    """The column called `by`; else of those with an order the one with most rows, None of none.

    An estimate that its card calls no better than a rival is taken only where nothing else is.
    NotFound if there is no column of that name.
    """
    if by is not None:
        named = {one.name: one for one in columns}
        if by not in named:
            raise NotFound.named("influence column", by, named, hint="see: influence-store status")
        return named[by]
    verdicts = _verdicts(store)
    ordered = [one for one in columns if len(one.values) and np.ptp(one.values) > 0]
    return max(
        ordered,
        key=lambda one: (verdicts.get(one.producer.id, "") in _BELIEVED, len(one.values)),
        default=None,
    )


def influence(store: Store, rows: Rows, columns: Sequence[Column]) -> Influence | Missing:
    """Columns and labelled pairs, each with its distribution per source."""
    verdicts = _verdicts(store)
    told = tuple(_told(rows, one, verdicts) for one in columns)
    pairs = tuple(
        one for producer in store.producers("pairs") for one in _pairs(store, rows, producer)
    )
    if not told and not pairs:
        return Missing(
            "No influence of this version's rows is stored.",
            f"influence-store label {rows.version} --model MODEL --minutes 10",
        )
    return Influence(told, pairs)


def _verdicts(store: Store) -> dict[int | None, str]:
    return {one.producer.id: one.row.verdict for one in all_estimators(store)}


def _told(rows: Rows, one: Column, verdicts: dict[int | None, str]) -> InfluenceColumn:
    return InfluenceColumn(
        name=one.name,
        kind=one.kind,
        method=one.producer.name,
        verdict=verdicts.get(one.producer.id, "") if one.kind == "estimate" else "",
        higher_means=one.producer.higher_means,
        rows=len(one.values),
        null=one.null,
        spread=spread(one.values) if len(one.values) else None,
        by_source=rows.by_source(one.places, one.values),
    )


def _pairs(store: Store, rows: Rows, producer: Producer) -> list[PairValues]:
    """One for each output of a pairwise method with a labelled pair inside the version."""
    inside = pl.col("source").is_in(rows.sids) & pl.col("target").is_in(rows.sids)
    found = store.pairs(producer).filter(inside)
    outputs = [name for name in found.columns if name not in ("source", "target")]
    told = []
    for output in outputs if found.height else []:
        values = found[output].cast(pl.Float64).to_numpy()
        finite = np.isfinite(values)
        places = rows.places(found["source"].to_numpy()[finite])
        told.append(
            PairValues(
                method=producer.name,
                output=output,
                higher_means=producer.higher_means,
                pairs=int(finite.sum()),
                null=int((~finite).sum()),
                spread=spread(values[finite]) if finite.any() else None,
                by_source=rows.by_source(places, values[finite]),
            )
        )
    return told


def overlap(rows: Rows, columns: Sequence[Column]) -> Overlap | Missing:
    """Every two columns on the rows that have both."""
    filled = [one for one in columns if len(one.values)]
    if len(filled) < 2:
        return Missing(
            "Fewer than two influence columns are stored for this version, so none can be compared "
            "with another.",
            f"influence-store label {rows.version} --method ifd --model MODEL --rows all",
        )
    n = len(rows.sids)
    return Overlap(
        tuple(one.name for one in filled),
        tuple(_agreement(one, other, n) for one, other in combinations(filled, 2)),
    )


def _agreement(one: Column, other: Column, n: int) -> Agreement:
    """`n` is the number of rows of the version."""
    both = _common(one, n) & _common(other, n)
    count = int(both.sum())
    a, b = (column.values[both[column.places]] for column in (one, other))
    if count < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(one.name, other.name, count, None, None, None)
    k = max(1, round(TENTH * count))
    shared = np.intersect1d(highest(a, k), highest(b, k))
    rank = float(spearman(a[None], b[None])[0])
    return Agreement(one.name, other.name, count, rank, len(shared) / k, k / count)


def _common(column: Column, n: int) -> Flags:
    there = np.zeros(n, np.bool_)
    there[column.places] = True
    return there


def highest(values: Doubles, k: int) -> Ids:
    """The positions of the k highest of (n,) values, best first; of equal ones the first rows."""
    return np.argsort(-values, kind="stable")[:k]
