"""How does a selection become visible? Its order, its facts and who serves whom, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.jobs.cover import COVER
from influence_store.jobs.cover import SCHEMA as COVER_SCHEMA
from influence_store.schema import tables
from influence_store.schema.catalog import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from influence_store.protocols import Doubles, Ids
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


def new_selection(
    identity: str,
    version: Version,
    objective: str,
    kernel: str,
    n_items: int,
    facts: Mapping[str, Any],
) -> Selection:
    """The row of a selection; publishing tells it its block, run and time."""
    return Selection(
        id=identity,
        dataset_version_id=version.id,
        block_id=0,
        objective=objective,
        kernel=kernel,
        n_items=n_items,
        facts=dict(facts),
        run_id="",
        created_at=0.0,
    )


def publish_selection(
    store: Store,
    run: ActiveRun,
    row: Selection,
    sids: Ids,
    gains: Doubles,
    cover: pa.RecordBatch | None = None,
) -> None:
    """Write the picks `sids` with their `gains` (NaN where there is none) and publish `row`."""
    order = pa.record_batch(
        [
            pa.array(np.arange(1, len(sids) + 1)),
            pa.array(sids),
            pa.array(gains, pa.float64(), from_pandas=True),
        ],
        schema=tables.SELECTION,
    )
    blocks = [run.stage("selection", [order], tables.SELECTION, BitMap(sids.astype(np.uint32)))]
    if cover is not None:
        targets = BitMap(cover["sid"].to_numpy().astype(np.uint32))
        blocks.append(run.stage(COVER, [cover], COVER_SCHEMA, targets))

    def more(session: Session, block_ids: list[int]) -> None:
        row.block_id, row.run_id = block_ids[0], run.id
        row.created_at = store.database.now(session)
        session.merge(row)

    run.publish(blocks, more)
