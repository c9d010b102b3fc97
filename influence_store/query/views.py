"""What each view holds and how it is read from blocks and catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from pyroaring import BitMap
from sqlmodel import select

from influence_store.query import overlap_views
from influence_store.query.beside import beside, needed, with_beside
from influence_store.query.catalog_views import catalog_rows
from influence_store.query.rows import ORIGIN, TEXT, read_rows, schema_of
from influence_store.schema import catalog, tables
from influence_store.store.selections import find_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from influence_store.query.beside import Beside
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class View:
    """How to make one view: `columns` are read when named, `on_request` never by `*`.

    `build` gives some columns; where it is `by_sid` also `sid`, and of those sids alone that it is
    given.
    """

    columns: list[str]
    build: Callable[[list[str], BitMap | None], pa.Table]
    on_request: tuple[str, ...] = ()
    by_sid: bool = False


def views(store: Store) -> dict[str, View]:
    """Every view a statement may name. Making this table reads the catalog, no block."""
    views = {
        "samples": _samples_view(store),
        "pairs": View(
            ["source_id", "target_id", "method", "output", "value"], lambda *_: _pairs(store)
        ),
        "points": View(
            ["sample_id", "method", "output", "value", "n_tokens", "truncated", "fingerprint"],
            lambda *_: _points(store),
        ),
        "selection_items": View(
            ["selection", "rank", "sample_id", "gain"], lambda *_: _selection_items(store)
        ),
        "near_duplicates": View(
            overlap_views.NEAR_DUPLICATES, lambda *_: overlap_views.near_duplicates(store)
        ),
        "leaks": View(overlap_views.LEAKS, lambda *_: overlap_views.leaks(store)),
    }
    for name, rows in catalog_rows(store).items():
        views[name] = _constant(rows)
    cells = Cells.of(store)
    latest: dict[str, int] = {}
    for name, number in store.version_names():
        views[f"{name}@{number}"] = _dataset_view(store, f"{name}@{number}", cells)
        latest[name] = max(number, latest.get(name, 0))
    for name, number in latest.items():
        views[name] = views[f"{name}@{number}"]
    return views


def _constant(rows: pl.DataFrame) -> View:
    return View(rows.columns, lambda *_: rows.to_arrow())


@dataclass(frozen=True)
class Cells:
    """Columns of a dataset view that are not text: name → producer and stored column.

    Those `beside` an estimate are computed from it.
    """

    scalars: Mapping[str, tuple[Producer, str]]
    vectors: Mapping[str, tuple[Producer, str]]
    beside: Mapping[str, Beside]

    @property
    def shown(self) -> list[str]:
        """The columns of `*`: every estimate with what stands beside it."""
        told: list[str] = []
        for name in self.scalars:
            told += [name, *[one for one, column in self.beside.items() if column.of == name]]
        return list(dict.fromkeys(told))

    def read(
        self, store: Store, bits: BitMap, wanted: list[str], dataset_id: int | None
    ) -> pa.Table:
        """See `read_rows`."""
        names = needed(wanted, self.beside)
        table = read_rows(store, bits, names, self.all, dataset_id)
        return with_beside(table, self.beside, wanted) if names != wanted else table

    @property
    def all(self) -> dict[str, tuple[Producer, str]]:
        """Both."""
        return {**self.scalars, **self.vectors}

    @classmethod
    def of(cls, store: Store) -> Cells:
        """All that the catalog knows of: est_ and inf_ are numbers, emb_ and vec_ vectors."""
        estimates = named_columns("est", store.producers("estimate"))
        embeddings = named_columns("emb", store.producers("embedding"))
        kept = named_columns("vec", store.producers("vectors"))
        scalars = {
            **{name: (made, "influence") for name, made in estimates.items()},
            **_outputs(store.producers("points")),
        }
        vectors = {name: (made, "vector") for name, made in {**embeddings, **kept}.items()}
        return cls(scalars, vectors, beside(store, estimates))


def _samples_view(store: Store) -> View:
    def build(wanted: list[str], sids: BitMap | None) -> pa.Table:
        every = BitMap.union(BitMap(), *[block.bits for block in store.blocks("samples")])
        return read_rows(store, every if sids is None else sids, wanted, {})

    return View(TEXT, build, by_sid=True)


def _dataset_view(store: Store, ref: str, cells: Cells) -> View:
    def build(wanted: list[str], sids: BitMap | None) -> pa.Table:
        version = store.version(ref)
        bits = version.bits if sids is None else version.bits & sids
        return cells.read(store, bits, wanted, version.dataset_id)

    return View([*TEXT, *ORIGIN, *cells.shown], build, tuple(cells.vectors), by_sid=True)


def selected_view(store: Store, name: str) -> View:
    """`selected('name')`: rank and gain of its items, and the columns of its dataset.

    NotFound for no selection whose id begins with `name`, UsageError for several.
    """
    selection = find_selection(store.database, name)
    cells = Cells.of(store)

    def build(wanted: list[str], sids: BitMap | None) -> pa.Table:
        (block,) = [one for one in store.blocks("selection") if one.id == selection.block_id]
        names = ["rank", "sid", "gain"]
        items = _frame(store.scan([block], names), _columns(tables.SELECTION, names)).sort("rank")
        bits = block.bits if sids is None else block.bits & sids
        of_rows = ["sid", *[one for one in wanted if one not in names]]
        dataset = store.version_by_id(selection.dataset_version_id).dataset_id
        rows = _polars(cells.read(store, bits, of_rows, dataset))
        joined = items.join(rows, on="sid", how="inner", maintain_order="left")
        return joined.select(wanted).to_arrow()

    columns = ["rank", "gain", *TEXT, *ORIGIN, *cells.shown]
    return View(columns, build, tuple(cells.vectors), by_sid=True)


def _outputs(producers: Iterable[Producer]) -> dict[str, tuple[Producer, str]]:
    """inf_<output> for every output of pointwise methods; the newest of a name has it plain."""
    columns: dict[str, tuple[Producer, str]] = {}
    for producer in producers:  # oldest first
        for output in producer.facts["outputs"]:
            name = _column("inf", output)
            if name in columns:
                older = columns[name]
                columns[f"{name}__{older[0].fingerprint[:6]}"] = older
            columns[name] = (producer, output)
    return columns


def named_columns(prefix: str, producers: Iterable[Producer]) -> dict[str, Producer]:
    """Column names of producers: the newest of a name has it plain, older ones a suffix."""
    columns: dict[str, Producer] = {}
    for producer in producers:  # oldest first
        name = _column(prefix, producer.name)
        if name in columns:
            older = columns[name]
            columns[f"{name}__{older.fingerprint[:6]}"] = older
        columns[name] = producer
    return columns


def _column(prefix: str, name: str) -> str:
    return f"{prefix}_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')}"


def cells_of(store: Store, producer: Producer, column: str, version: Version) -> pl.DataFrame:
    """sid and one stored column of a producer, for the rows of a version that have the cell."""
    schema = schema_of(producer, [column])
    blocks = store.blocks(producer.kind, producer_id=producer.id)
    batches = store.scan(blocks, ["sid", column], version.bits)
    return _frame(batches, _columns(schema, ["sid", column]))


def _points(store: Store) -> pa.Table:
    ids = store.sample_ids().with_columns(pl.col("sample_id").bin.encode("hex"))
    schema = {
        "sample_id": pl.String,
        "method": pl.String,
        "output": pl.String,
        "value": pl.Float64,
        "n_tokens": pl.Int64,
        "truncated": pl.Boolean,
        "fingerprint": pl.String,
    }
    frames = [pl.DataFrame(schema=schema)]
    for producer in store.producers("points"):
        values = store.points(producer)
        if values.height:
            frames.append(
                values.unpivot(
                    producer.facts["outputs"],
                    index=["sid", "n_tokens", "truncated"],
                    variable_name="output",
                )
                .join(ids, on="sid")
                .with_columns(
                    method=pl.lit(producer.name), fingerprint=pl.lit(producer.fingerprint)
                )
                .select(*schema)
            )
    return pl.concat(frames).to_arrow()


def _pairs(store: Store) -> pa.Table:
    ids = store.sample_ids().with_columns(pl.col("sample_id").bin.encode("hex"))
    frames = []
    for producer in store.producers("pairs"):
        values = store.pairs(producer)
        outputs = [name for name in values.columns if name not in ("source", "target")]
        frames.append(
            values.unpivot(outputs, index=["source", "target"], variable_name="output")
            .join(ids.rename({"sid": "source", "sample_id": "source_id"}), on="source")
            .join(ids.rename({"sid": "target", "sample_id": "target_id"}), on="target")
            .with_columns(method=pl.lit(producer.name))
            .select("source_id", "target_id", "method", "output", "value")
        )
    empty = {name: pl.String for name in ("source_id", "target_id", "method", "output")}
    return pl.concat([pl.DataFrame(schema={**empty, "value": pl.Float32}), *frames]).to_arrow()


def _selection_items(store: Store) -> pa.Table:
    with store.database.read() as session:
        owners = {row.block_id: row.id for row in session.exec(select(catalog.Selection)).all()}
    ids = store.sample_ids().with_columns(pl.col("sample_id").bin.encode("hex"))
    schema = {"selection": pl.String, "rank": pl.Int64, "sample_id": pl.String, "gain": pl.Float64}
    frames = [pl.DataFrame(schema=schema)]
    for block in store.blocks("selection"):
        names = ["rank", "sid", "gain"]
        items = _frame(store.scan([block], names), _columns(tables.SELECTION, names))
        named = items.join(ids, on="sid").with_columns(selection=pl.lit(owners[block.id]))
        frames.append(named.select(*schema).sort("rank"))
    return pl.concat(frames).to_arrow()


def _frame(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pl.DataFrame:
    found = list(batches)
    return _polars(pa.Table.from_batches(found) if found else schema.empty_table())


def _columns(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _polars(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
