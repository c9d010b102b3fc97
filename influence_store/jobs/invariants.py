"""Does the catalog agree with itself? What no transaction of this program ever breaks."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from pyroaring import BitMap
from sqlalchemy import text
from sqlmodel import col, select

from influence_store.schema.catalog import Block, Counter, Dataset, DatasetVersion, Selection, Tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlmodel import Session

#: Kinds of which a block has one row per sid, at least for every sid that it speaks for.
_ONE_ROW_PER_SID = {
    *("samples", "rows", "embedding", "llm-state", "points", "vectors", "estimate"),
    *("tokens", "minhash", "neighbours", "trial"),
}

#: What is wrong: the row, what it says, what it must say.
Broken = tuple[str, str, str]


def unreadable_bitmaps(session: Session) -> Iterator[Broken]:
    """Rows that nothing else can be asked about: who they speak for is lost."""
    named = [(f"block {path}", bits) for path, bits in session.exec(select(Block.path, Block.bits))]
    versions = select(DatasetVersion.id, DatasetVersion.bits)
    named += [(f"dataset_version, row {id_}", bits) for id_, bits in session.exec(versions)]
    for name, bits in named:
        try:
            BitMap.deserialize(bits)
        except ValueError as error:
            yield name, f"its bitmap cannot be read: {error}", "a Roaring bitmap"


def broken_invariants(session: Session) -> Iterator[Broken]:
    """Everything in which the catalog contradicts itself; its bitmaps must be readable."""
    versions = session.exec(select(DatasetVersion).order_by(col(DatasetVersion.id))).all()
    names = {row.id: row.name for row in session.exec(select(Dataset)).all()}
    live = select(Block).where(col(Block.retired_at).is_(None)).order_by(col(Block.id))
    blocks = session.exec(live).all()
    yield from _database(session)
    yield from _versions(versions, names)
    yield from _heads(session, versions)
    yield from _sids(session, versions, names, blocks)
    yield from _cells(blocks)
    yield from _contents(versions, names, blocks)
    yield from _selections(session, blocks)


def _database(session: Session) -> Iterator[Broken]:
    """PostgreSQL checks its pages and foreign keys itself; SQLite is asked."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return
    for (told,) in connection.execute(text("pragma integrity_check")):
        if told != "ok":
            yield "catalog.sqlite", str(told), "a database without damage"
    for table, row, parent, _ in connection.execute(text("pragma foreign_key_check")):
        yield f"{table}, row {row}", f"names a row of {parent} that is not there", "a row that is"


def _versions(versions: Sequence[DatasetVersion], names: dict[int | None, str]) -> Iterator[Broken]:
    for row in versions:
        name = f"version {names[row.dataset_id]}@{row.number}"
        if (found := hashlib.blake2b(row.bits, digest_size=16).hexdigest()) != row.digest:
            yield name, f"its bitmap has digest {found[:12]}", f"digest {row.digest[:12]}"
        elif (count := len(BitMap.deserialize(row.bits))) != row.n_rows:
            yield name, f"its bitmap has {count} rows", f"{row.n_rows} rows"


def _heads(session: Session, versions: Sequence[DatasetVersion]) -> Iterator[Broken]:
    numbers = defaultdict[int | None, set[int]](set)
    for row in versions:
        numbers[row.dataset_id].add(row.number)
    for dataset in session.exec(select(Dataset)).all():
        there, wanted = numbers[dataset.id], set(range(1, dataset.head + 1))
        if there != wanted:
            odd = sorted(there ^ wanted)
            told = f"versions up to {max(there, default=0)}; missing or too many: {odd[:5]}"
            yield f"dataset {dataset.name}", told, f"versions 1 to {dataset.head}"
    for tag in session.exec(select(Tag)).all():
        if tag.number not in numbers[tag.dataset_id]:
            yield f"tag {tag.name}", f"names version {tag.number}", "a version that exists"


def _sids(
    session: Session,
    versions: Sequence[DatasetVersion],
    names: dict[int | None, str],
    blocks: Sequence[Block],
) -> Iterator[Broken]:
    counter = session.get(Counter, "sid")
    free = counter.next if counter else 0
    named = [(f"version {names[row.dataset_id]}@{row.number}", row.bits) for row in versions]
    for name, bits in [*named, *((f"block {block.path}", block.bits) for block in blocks)]:
        sids = BitMap.deserialize(bits)
        if sids and sids.max() >= free:
            yield name, f"speaks for sid {sids.max()}", f"sids below {free}: more were never given"


def _cells(blocks: Sequence[Block]) -> Iterator[Broken]:
    """A fact has one value: no two live blocks of one column speak for the same sid."""
    taken: dict[tuple[object, ...], BitMap] = defaultdict(BitMap)
    for block in blocks:
        bits = BitMap.deserialize(block.bits)
        if block.kind in _ONE_ROW_PER_SID and len(bits) > block.n_rows:
            found = f"{block.n_rows} rows for {len(bits)} sids"
            yield f"block {block.path}", found, "at least one row per sid"
        if block.kind == "pairs" or (block.producer_id is None and block.kind not in _OF_INGEST):
            continue
        column = taken[block.kind, block.producer_id, block.dataset_id]
        if both := len(column & bits):
            found = f"{both} sids that an earlier block of the same column speaks for"
            yield f"block {block.path}", found, "none"
        column |= bits


_OF_INGEST = ("samples", "rows")


def _contents(
    versions: Sequence[DatasetVersion], names: dict[int | None, str], blocks: Sequence[Block]
) -> Iterator[Broken]:
    texts = BitMap()
    origins: dict[int | None, BitMap] = defaultdict(BitMap)
    for block in blocks:
        if block.kind == "samples":
            texts |= BitMap.deserialize(block.bits)
        elif block.kind == "rows":
            origins[block.dataset_id] |= BitMap.deserialize(block.bits)
    for row in versions:
        if row.deleted_at is not None:
            continue
        name, bits = f"version {names[row.dataset_id]}@{row.number}", BitMap.deserialize(row.bits)
        for what, known in (("content", texts), ("origin", origins[row.dataset_id])):
            if lost := len(bits - known):
                found = f"{lost} of its {row.n_rows} rows have no {what}"
                yield name, found, f"{what} of each row"


def _selections(session: Session, blocks: Sequence[Block]) -> Iterator[Broken]:
    live = {block.id: block for block in blocks}
    for row in session.exec(select(Selection)).all():
        block = live.get(row.block_id)
        if block is None:
            yield f"selection {row.id}", "its order is in no live block", "a live block"
        elif block.kind != "selection" or block.n_rows != row.n_items:
            found = f"its block has {block.n_rows} rows of {block.kind}"
            yield f"selection {row.id}", found, f"{row.n_items} picks"
