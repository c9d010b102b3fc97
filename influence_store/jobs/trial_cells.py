"""What a trained model made of held-out samples, as facts: stored once, for every later trial.

Whoever trained on the same rows with the same settings, seed and budget has trained the same
model; so a random arm is paid for once, however many selections are compared with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.schema import tables
from influence_store.trial.measure import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

KIND = "trial"
_COLUMNS = ("loss", "rouge_l", "exact")


def is_known(store: Store, producer: Producer | None, held: Ids) -> bool:
    """Whether every held-out sample (sids) has a cell of `producer`."""
    if producer is None or producer.id is None:
        return False
    return not BitMap(held.astype(np.uint32)) - store.covered(producer.id)


def publish_measured(
    store: Store,
    run: ActiveRun,
    producer: Producer,
    held: Ids,
    measured: Measured,
    spent: Mapping[str, int],
) -> None:
    """Make the cells of `held` (sids, ascending) true, but for those that are already."""
    assert producer.id is not None
    new = BitMap(held.astype(np.uint32)) - store.covered(producer.id)
    keep = np.isin(held, np.asarray(new.to_array(), np.int64))
    columns = [getattr(measured, name)[keep] for name in _COLUMNS]
    arrays = [pa.array(one, pa.float64(), from_pandas=True) for one in columns]
    batch = pa.record_batch([pa.array(held[keep]), *arrays], schema=tables.TRIAL)
    block = run.stage(KIND, [batch], tables.TRIAL, new, producer_id=producer.id)
    run.publish([block], spent=spent)


def read_measured(store: Store, producer: Producer, held: Ids) -> Measured:
    """The cells of `held` (sids), in that order."""
    place = {sid: k for k, sid in enumerate(held.tolist())}
    found = {name: np.full(len(held), np.nan) for name in _COLUMNS}
    blocks = store.blocks(KIND, producer_id=producer.id)
    for batch in store.scan(blocks, ["sid", *_COLUMNS], BitMap(held.astype(np.uint32))):
        places = [place[sid] for sid in batch["sid"].to_pylist()]
        for name in _COLUMNS:
            found[name][places] = batch[name].to_numpy(zero_copy_only=False)
    return Measured(**found)
