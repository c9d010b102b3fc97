"""Which labels did an estimator learn from? Those of its teacher that were published before it.

Labels that came later are not part of it, though they may be of the same pairs' samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from pyroaring import BitMap
from sqlmodel import col, select

from influence_store.errors import NotComputed
from influence_store.schema.catalog import Block, Producer, Run
from influence_store.store.grid import open_block

if TYPE_CHECKING:
    from influence_store.jobs.estimators import Trained
    from influence_store.protocols import Ids
    from influence_store.store.grid import BlockRef
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class Learned:
    """What `method` said before the training: sids on either side, ascending, and the pairs.

    `pairs` has the columns source, target and value; of methods that are not pairwise it is None
    and both sides are the labelled samples. `targets_of` is the dataset that was to be helped,
    as far as it is recorded. An estimator that was pulled learned elsewhere: then `version` and
    `pairs` are None, and the sids are those of the samples that are here too.
    """

    method: Producer
    version: Version | None
    home: str
    targets_of: str | None
    sources: Ids
    targets: Ids
    pairs: pl.DataFrame | None

    @property
    def samples(self) -> Ids:
        """Sids seen on either side, ascending."""
        return np.union1d(self.sources, self.targets)


def learned(store: Store, trained: Trained) -> Learned:
    """The labels of `trained`, read back from the catalog and the blocks of its teacher."""
    with store.database.read() as session:
        run = session.get_one(Run, trained.row.run_id)
        method = session.get_one(Producer, trained.row.method_id)
        before = set(
            session.exec(
                select(Block.id).where(
                    Block.producer_id == method.id, col(Block.published_at) <= run.started_at
                )
            ).all()
        )
    if trained.row.dataset_version_id is None:
        return _elsewhere(store, trained, method)
    version = store.version_by_id(trained.row.dataset_version_id)
    blocks = [one for one in store.blocks(method.kind, producer_id=method.id) if one.id in before]
    targets_of = run.params.get("targets")
    if method.kind != "pairs":
        bits = BitMap.union(BitMap(), *[block.bits for block in blocks]) & version.bits
        sids = np.asarray(bits.to_array(), np.int64)
        return Learned(method, version, str(version), targets_of, sids, sids, None)
    pairs = _pairs(store, blocks, trained.row.output).filter(
        pl.col("source").is_in(version.bits.to_array())
    )
    if targets_of is not None:
        pairs = pairs.filter(pl.col("target").is_in(store.version(targets_of).bits.to_array()))
    if not pairs.height:
        raise NotComputed(
            f"the labels that {trained.producer.name} learned from are not in the store",
            hint=f"train it again: influence-store train {version} --method {method.name}",
        )
    sources, targets = (np.unique(pairs[side].to_numpy()) for side in ("source", "target"))
    return Learned(method, version, str(version), targets_of, sources, targets, pairs)


def _elsewhere(store: Store, trained: Trained, method: Producer) -> Learned:
    """What is known here of the lesson of an estimator that was pulled."""
    sids = store.sids_of(list(trained.taught_ids(store)))["sid"].sort().to_numpy()
    return Learned(method, None, trained.origin["dataset"], None, sids, sids, None)


def _pairs(store: Store, blocks: list[BlockRef], output: str) -> pl.DataFrame:
    """Source, target and `output` as value; of a pair labelled twice the first fact stands."""
    columns = ["source", "target", output]
    frames = [
        pl.DataFrame(pl.from_arrow(batch))
        for block in blocks
        for batch in open_block(store.storage, block).scan(columns)
    ]
    whole = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.Int64))
    whole = whole.rename({output: "value"}).with_columns(pl.col("value").cast(pl.Float32))
    return whole.unique(["source", "target"], keep="first", maintain_order=True).drop_nulls()
