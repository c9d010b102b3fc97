"""`diff`: what is in one version and not in another, and do the new rows look like the old ones?

Only what is stored is read: rows by file and by the keys of their records, every number that the
store has of them (lengths, influence, estimates), edges of near duplicates. Nothing is computed by
a model, nothing is written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl
from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import NotFound
from influence_store.jobs.attributes import FILE, NONE, attributes
from influence_store.jobs.diff_columns import Shift, shift
from influence_store.jobs.stored_selection import names_of
from influence_store.output import plain
from influence_store.query.views import Cells, cells_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Values of an attribute that are told, those that changed most.
_SHOWN_VALUES = 8
#: More different values are of no use to anybody.
_MOST_VALUES = 1000
_LENGTHS = ("prompt_chars", "response_chars")


@dataclass(frozen=True)
class Attribute:
    """Per value how many rows were added, removed and kept; `values` counts all there are."""

    name: str
    values: int
    changed: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Near:
    """Of `compared` added rows, `near` have a near duplicate, by `how`, in the old version."""

    how: str
    compared: int
    near: int


@dataclass(frozen=True)
class DiffReport:
    """What `new` has that `old` has not, and the other way round; rows by id and first words."""

    old: str
    new: str
    added: int
    removed: int
    kept: int
    attributes: tuple[Attribute, ...]
    columns: tuple[Shift, ...]
    near: tuple[Near, ...]
    added_rows: tuple[dict[str, str], ...]
    removed_rows: tuple[dict[str, str], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"{self.old} → {self.new}: {counted(self.added, 'row')} added, "
            f"{self.removed:,} removed, "
            f"{self.kept:,} kept"
        ]
        for one in self.attributes:
            told.append(
                f"  {plain(one.name)} ({counted(one.values, 'value')}; "
                f"rows + added, − removed, = kept)"
            )
            for value in one.changed:
                counts = f"+{value['added']:,} −{value['removed']:,} ={value['kept']:,}"
                told.append(f"    {counts:<24} {plain(value['value'])[:60]}")
        for column in self.columns:
            told += column.lines()
        for near in self.near:
            told.append(
                f"  {near.near:,} of {counted(near.compared, 'added row')} "
                f"{agree(near.near, 'nearly repeats', 'nearly repeat')} one of {self.old} "
                f"({near.how})"
            )
        if self.added and not self.near:
            told.append(f"  near repeats are not known: influence-store duplicates {self.new}")
        for sign, rows in (("+", self.added_rows), ("−", self.removed_rows)):
            told += [f"{sign} {row['sample_id'][:12]}  {plain(row['text'])}" for row in rows]
        return told


def diff(store: Store, old: Version, new: Version, *, show: int = 0) -> DiffReport:
    """Compare two versions, of one dataset or of two; the first `show` rows with their texts."""
    added, removed, kept = new.bits - old.bits, old.bits - new.bits, old.bits & new.bits
    parts = _Parts(old, new, added, removed, kept)
    return DiffReport(
        old=str(old),
        new=str(new),
        added=len(added),
        removed=len(removed),
        kept=len(kept),
        attributes=tuple(_attributes(store, parts)),
        columns=tuple(_columns(store, parts)),
        near=tuple(_near(store, parts)),
        added_rows=_heads(store, added, show),
        removed_rows=_heads(store, removed, show),
    )


@dataclass(frozen=True)
class _Parts:
    old: Version
    new: Version
    added: BitMap
    removed: BitMap
    kept: BitMap


def _attributes(store: Store, parts: _Parts) -> Iterator[Attribute]:
    """The file, and every key of the records with few values."""
    gone = replace(parts.old, bits=parts.removed)
    names = [FILE, *sorted(_keys(store, parts.new) | _keys(store, gone))]
    for name in names:
        here = dict(zip(parts.new.bits, _values(store, parts.new, name), strict=True))
        there = dict(zip(gone.bits, _values(store, gone, name), strict=True))
        frame = pl.concat(
            [
                _tagged("added", (here[sid] for sid in parts.added)),
                _tagged("removed", there.values()),
                _tagged("kept", (here[sid] for sid in parts.kept)),
            ]
        )
        counts = frame.group_by("value").agg(
            [(pl.col("part") == part).sum().alias(part) for part in ("added", "removed", "kept")]
        )
        if name != FILE and _tells_rows_apart(counts):
            continue
        by_change = (pl.col("added") + pl.col("removed")).alias("change")
        ordered = counts.with_columns(by_change).sort(
            "change", "kept", "value", descending=[True, True, False]
        )
        shown = ordered.drop("change").head(_SHOWN_VALUES).to_dicts()
        yield Attribute(name, counts.height, tuple(shown))


def _tells_rows_apart(counts: pl.DataFrame) -> bool:
    """Whether a key names rows, as an id does, and not groups of them."""
    named = counts.filter(pl.col("value") != NONE)
    rows = sum(int(named[part].sum()) for part in ("added", "removed", "kept"))
    few = named.height <= _SHOWN_VALUES  # of so few nobody can tell
    return counts.height > _MOST_VALUES or not (few or rows >= 2 * named.height)


def _tagged(part: str, values: Iterable[str]) -> pl.DataFrame:
    found = list(values)
    columns = {"value": found, "part": [part] * len(found)}
    return pl.DataFrame(columns, schema={"value": pl.String, "part": pl.String})


def _values(store: Store, version: Version, name: str) -> list[str]:
    try:
        return attributes(store, version, name)
    except NotFound:  # a key of the other version alone
        return [NONE] * len(version.bits)


def _keys(store: Store, version: Version) -> set[str]:
    """The keys that records hold beside the sample itself."""
    keys: set[str] = set()
    blocks = store.blocks("rows", dataset_id=version.dataset_id)
    for batch in store.scan(blocks, ["extra"], version.bits):
        for text in batch["extra"].unique().to_pylist():
            keys.update(orjson.loads(text))
    return keys


def _columns(store: Store, parts: _Parts) -> Iterator[Shift]:
    """Every number that both versions have."""
    both = replace(parts.new, bits=parts.old.bits | parts.new.bits)
    lengths = _read_lengths(store, both)
    for name in _LENGTHS:
        yield _shift(name, "neither", lengths.select("sid", name), parts)
    for name, (producer, column) in Cells.of(store).scalars.items():
        found = _shift(name, producer.higher_means, cells_of(store, producer, column, both), parts)
        if found.in_both:
            yield found


def _read_lengths(store: Store, version: Version) -> pl.DataFrame:
    names = ["sid", *_LENGTHS]
    batches = store.scan(store.blocks("samples"), names, version.bits)
    frames = [pl.DataFrame(pl.from_arrow(batch)) for batch in batches]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(names, pl.Int64))


def _shift(name: str, higher_means: str, cells: pl.DataFrame, parts: _Parts) -> Shift:
    cells = cells.drop_nulls()
    sids, values = cells["sid"].to_numpy(), cells[cells.columns[1]].to_numpy().astype(np.float64)
    of = {
        part: values[np.isin(sids, np.asarray(bits.to_array(), np.int64))]
        for part, bits in (
            ("added", parts.added),
            ("removed", parts.removed),
            ("kept", parts.kept),
        )
    }
    return shift(name, higher_means, of["added"], of["removed"], of["kept"])


def _near(store: Store, parts: _Parts) -> Iterator[Near]:
    """From the edges that `duplicates` has found, by every setting that knows both versions."""
    old = np.asarray(parts.old.bits.to_array(), np.int64)
    for producer in store.producers("duplicates"):
        assert producer.id is not None
        covered = store.covered(producer.id)
        compared = parts.added & covered
        if not compared or len(parts.old.bits - covered):
            continue
        near, among = BitMap(), np.asarray(compared.to_array(), np.int64)
        for batch in store.scan(
            store.blocks("duplicates", producer_id=producer.id), ["sid", "twin"]
        ):
            a, b = batch["sid"].to_numpy(), batch["twin"].to_numpy()
            for one, other in ((a, b), (b, a)):
                found = one[np.isin(one, among) & np.isin(other, old)]
                near |= BitMap(np.unique(found).astype(np.uint32))
        yield Near(producer.name, len(compared), len(near))


def _heads(store: Store, bits: BitMap, show: int) -> tuple[dict[str, str], ...]:
    first = bits.to_array()[:show]
    names = names_of(store, first)
    return tuple({"sample_id": names.ids[sid], "text": names.prompts[sid]} for sid in first)
