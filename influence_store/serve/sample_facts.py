"""What the pages tell of samples: a page of rows of a version, and everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from pyroaring import BitMap

from influence_store.errors import Busy, NotFound, UsageError
from influence_store.jobs.cells import sids_named
from influence_store.jobs.samples import read_samples
from influence_store.jobs.stored_selection import names_of, stored_selection
from influence_store.query.beside import HIGH, LOW
from influence_store.query.engine import Limits
from influence_store.query.relation import view
from influence_store.query.rows import read_rows
from influence_store.query.views import Cells
from influence_store.serve.dataset_facts import columns_of
from influence_store.store.selections import all_selections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

LIMITS = Limits(seconds=15.0, memory=1 << 30, threads=2)
ROWS, MOST_ROWS = 50, 200
#: Columns of influence beside the one that is sorted by.
_COLUMNS = 4
#: How many rows fulfil the wish, on every row of the answer: one statement tells both.
_FITTING = "n_fitting"
LENGTHS = ("prompt_chars", "response_chars")


@dataclass(frozen=True)
class Wish:
    """Which rows of a version, in which order, and which page of them; `page` counts from 1."""

    sort: str = ""
    ascending: bool = False
    source: str = ""
    text: str = ""
    page: int = 1
    rows: int = ROWS


@dataclass(frozen=True)
class Rows:
    """A page of rows: dicts by column; `total` rows fulfil the wish, `columns` are shown."""

    rows: list[dict[str, Any]]
    total: int
    columns: tuple[str, ...]
    pages: int


def rows_of(store: Store, version: Version, wish: Wish, *, texts: bool) -> Rows:
    """Those rows; prompts only where `texts` may be seen.

    NotFound for a column that the version has not, Busy where the answer takes too long.
    """
    known = [*LENGTHS, *(one.name for one in columns_of(store, version))]
    if wish.sort and wish.sort not in known:
        raise NotFound.named("column", wish.sort, known)
    first = [one for one in known if one not in LENGTHS][:_COLUMNS]
    columns = tuple(dict.fromkeys([*([wish.sort] if wish.sort else []), *first, *LENGTHS]))
    asked = view(store, str(version)).within(LIMITS)
    if wish.source:
        asked = asked.where("file = $source", source=wish.source)
    if wish.text:
        asked = asked.where(
            "contains(lower(prompt), lower($text)) or contains(lower(response), lower($text))",
            text=wish.text,
        )
    way = "asc" if wish.ascending else "desc"
    order = [f'"{wish.sort}" {way} nulls last'] if wish.sort else []
    shown = ["sample_id", "file", *(["prompt"] if texts else []), *columns]
    skipped = (wish.page - 1) * wish.rows
    part = asked.select(*_quoted(shown), f"count(*) over () as {_FITTING}")
    part = part.order_by(*order, "sample_id").limit(wish.rows, skipped)
    try:
        rows = part.polars().to_dicts()
        total = rows[0][_FITTING] if rows else asked.count() if skipped else 0
    except UsageError as error:  # the statement is ours, so it is a limit that was reached
        raise Busy(
            "this takes more time or memory than a page may have",
            hint="ask for less here, or everything there: influence-store query --help",
        ) from error
    return Rows(rows, total, columns, max(1, -(-total // wish.rows)))


@dataclass(frozen=True)
class Value:
    """What one column says of a sample; an estimate with the interval that its card promises."""

    column: str
    producer: str
    measured: bool
    higher: str
    verdict: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Place:
    """Where a sample stands: the versions of a dataset that hold it, and the record it was."""

    dataset: str
    versions: tuple[int, ...]
    file: str
    line: int
    extra: str


@dataclass(frozen=True)
class Pick:
    """A selection that holds the sample, at this rank (from 1)."""

    selection: str
    objective: str
    n_items: int
    rank: int
    gain: float | None


@dataclass(frozen=True)
class SampleCard:
    """One sample: its whole id, texts (None where they may not be seen), values and places."""

    sample_id: str
    sample: Sample | None
    values: list[Value]
    places: list[Place]
    picks: list[Pick]
    others: list[tuple[str, str]]


def sample_card(store: Store, name: str, *, texts: bool) -> SampleCard:
    """The sample whose id begins with `name`; NotFound for none, UsageError for several."""
    sid = int(sids_named(store, [name])[0])
    only = BitMap([sid])
    places, versions = _places(store, only, texts=texts)
    picks = _picks(store, sid)
    inside = {one.selection for one in picks}
    return SampleCard(
        sample_id=names_of(store, only).ids[sid],
        sample=read_samples(store, only)[1][0] if texts else None,
        values=_values(store, versions[-1], only) if versions else [],
        places=places,
        picks=picks,
        others=[
            (row.id, row.objective)
            for row in all_selections(store.database)
            if row.id not in inside
        ],
    )


def _values(store: Store, version: Version, only: BitMap) -> list[Value]:
    cells, known = Cells.of(store), columns_of(store, version)
    if not known:
        return []
    names = [one.name for one in known]
    ends = [one + end for one in names for end in (LOW, HIGH) if one + end in cells.beside]
    (row,) = _dicts(cells.read(store, only, [*names, *ends], version.dataset_id))
    return [
        Value(
            column=one.name,
            producer=one.producer,
            measured=one.measured,
            higher=one.higher,
            verdict=one.verdict,
            value=row[one.name],
            low=row[one.name + LOW] if one.name + LOW in ends else None,
            high=row[one.name + HIGH] if one.name + HIGH in ends else None,
        )
        for one in known
    ]


def _places(store: Store, only: BitMap, *, texts: bool) -> tuple[list[Place], list[Version]]:
    """By dataset; and all versions that hold the sample, oldest first."""
    holding = [one for one in store.versions() if one.bits & only]
    places = []
    for dataset_id in dict.fromkeys(one.dataset_id for one in holding):
        of_it = [one for one in holding if one.dataset_id == dataset_id]
        # The keys beside a sample are part of what its record says.
        wanted = ["file", "line", *(["extra"] if texts else [])]
        (row,) = _dicts(read_rows(store, only, wanted, {}, dataset_id))
        numbers = tuple(one.number for one in of_it)
        extra = row.get("extra") or ""
        places.append(
            Place(
                of_it[0].dataset,
                numbers,
                row["file"] or "",
                row["line"] or 0,
                "" if extra == "{}" else extra,
            )
        )
    return places, holding


def _picks(store: Store, sid: int) -> list[Pick]:
    holding = {block.id for block in store.blocks("selection") if sid in block.bits}
    found = []
    for row in all_selections(store.database):
        if row.block_id in holding:
            stored = stored_selection(store, row.id)
            rank = stored.sids.tolist().index(sid)
            gain = float(stored.gains[rank])
            told = None if gain != gain else gain
            found.append(Pick(row.id, row.objective, row.n_items, rank + 1, told))
    return found


def _quoted(names: Sequence[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _dicts(table: Any) -> list[dict[str, Any]]:
    return pl.DataFrame(pl.from_arrow(table)).to_dicts()
