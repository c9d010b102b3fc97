"""Which samples repeat each other, and which hold part of a target? What was found so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from influence_store.schema import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from influence_store.store.store import Store

NEAR_DUPLICATES = ["sample_id", "twin_id", "how", "similarity"]
LEAKS = ["sample_id", "target_id", "how", "score", "words", "overlap"]


def near_duplicates(store: Store) -> pa.Table:
    """One row per pair of near duplicates and sign: `words` or `twins`, similarity in [0, 1]."""
    frames = []
    for producer in store.producers("duplicates"):
        blocks = store.blocks("duplicates", producer_id=producer.id)
        batches = list(store.scan(blocks, tables.DUPLICATES.names))
        frames += [_frame(batch).with_columns(how=pl.lit(producer.name)) for batch in batches]
    empty = pl.DataFrame(schema={"sid": pl.Int64, "twin": pl.Int64, "similarity": pl.Float64})
    found = pl.concat([empty.with_columns(how=pl.lit("")), *frames])
    return _named(store, found, [("sid", "sample_id"), ("twin", "twin_id")], NEAR_DUPLICATES)


def leaks(store: Store) -> pa.Table:
    """One row per leaked pair and sign, as `leaks` lists them; of all targets looked at."""
    blocks = store.blocks("leaks")
    frames = [_frame(batch) for batch in store.scan(blocks, tables.LEAKS.names)]
    empty = _frame(tables.LEAKS.empty_table())
    found = pl.concat([empty, *frames]).unique(maintain_order=True)
    return _named(store, found, [("sid", "sample_id"), ("target", "target_id")], LEAKS)


def _named(
    store: Store, found: pl.DataFrame, names: Sequence[tuple[str, str]], columns: list[str]
) -> pa.Table:
    """With sample ids instead of sids."""
    ids = store.sample_ids().with_columns(pl.col("sample_id").bin.encode("hex"))
    for sid, name in names:
        found = found.join(ids.rename({"sid": sid, "sample_id": name}), on=sid)
    return found.select(columns).to_arrow()


def _frame(rows: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
