"""Who serves whom in a selection: written once by `select`, read by `explain`.

`cover` blocks belong to the run that made the selection. They are a pass over targets × picks
that `explain` then need not make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from sqlmodel import col, select

from influence_store.schema.catalog import Block
from influence_store.selection.explain import NOBODY, Cover, cover

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Ids
    from influence_store.schema.catalog import Selection
    from influence_store.selection.functions.coverage import Coverage
    from influence_store.store.store import Store

COVER = "cover"
#: One row per target (`sid`), ascending: the chosen sources that cover it best and second best,
#: null where there is none; `level` is where the target stood before the first pick, `cap` the
#: value beyond which nothing counts, null where everything counts.
SCHEMA = pa.schema(
    [
        pa.field("sid", pa.int64(), nullable=False),
        pa.field("best", pa.int64()),
        pa.field("value", pa.float64()),
        pa.field("second", pa.int64()),
        pa.field("second_value", pa.float64()),
        pa.field("level", pa.float64(), nullable=False),
        pa.field("cap", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Served:
    """The cover of `targets` (n,), all in sids, and the span (n,) within which values count."""

    targets: Ids
    cover: Cover
    level: Doubles
    cap: Doubles | None


def served(coverage: Coverage, items: Ids, targets: Ids, sources: Ids) -> Served:
    """Who serves whom once `items`, positions in the order picked, are chosen; in sids.

    `targets` (n_targets,) and `sources` (n_sources,) are the sids behind the rows and columns of
    the kernel. One pass over n_targets × len(items) values.
    """
    found = cover(coverage.view, items)
    known = np.append(sources, NOBODY)  # position −1, nobody, stays −1
    in_sids = Cover(known[found.best], found.value, known[found.second], found.second_value)
    level = np.asarray(coverage.level, np.float64)
    cap = None if coverage.cap is None else np.asarray(coverage.cap, np.float64)
    return Served(targets, in_sids, level, cap)


def cover_batch(one: Served) -> pa.RecordBatch:
    """As a block of kind `cover`, rows in ascending order of their target."""
    order = np.argsort(one.targets, kind="stable")

    def column(values: Ids | Doubles, missing: Ids | Doubles | None = None) -> pa.Array:
        return pa.array(values[order], mask=None if missing is None else missing[order] == NOBODY)

    nothing = np.full(len(order), NOBODY)
    return pa.record_batch(
        [
            column(one.targets),
            column(one.cover.best, one.cover.best),
            column(one.cover.value, one.cover.best),
            column(one.cover.second, one.cover.second),
            column(one.cover.second_value, one.cover.second),
            column(one.level),
            column(one.level, nothing) if one.cap is None else column(one.cap),
        ],
        schema=SCHEMA,
    )


def read_cover(store: Store, row: Selection) -> Served | None:
    """What `select` wrote beside the selection; None where its function covers no targets."""
    with store.database.read() as session:
        query = select(col(Block.id)).where(Block.kind == COVER, Block.run_id == row.run_id)
        ids = set(session.exec(query).all())
    blocks = [block for block in store.blocks(COVER) if block.id in ids] if ids else []
    batches = list(store.scan(blocks, SCHEMA.names))
    if not batches:
        return None
    table = pa.Table.from_batches(batches)

    def whole(name: str) -> Ids:
        return np.asarray(table[name].fill_null(NOBODY).to_numpy(), np.int64)

    def number(name: str) -> Doubles:
        return np.asarray(table[name].fill_null(-np.inf).to_numpy(), np.float64)

    return Served(
        whole("sid"),
        Cover(whole("best"), number("value"), whole("second"), number("second_value")),
        number("level"),
        None if table["cap"].null_count else number("cap"),
    )
