"""A kernel of teacher values alone: `pairs:delift-l2`, where every pair was asked about.

No estimator, no cosine: what the LLM said of each (target, source). A sample's own pair need not
be labelled, since it is no example for itself. A pair that could not be scored (too long for the
model) is worth 0, and that is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from influence_store.errors import Incompatible, NotFound
from influence_store.selection.views import ArrayView

if TYPE_CHECKING:
    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store

PREFIX = "pairs:"


def pairs_producer(store: Store, name: str) -> tuple[Producer, str, int]:
    """The newest producer of `pairs:OUTPUT`, the output, and how many pairs were not scored.

    NotFound with the outputs that are stored.
    """
    output, known = name.removeprefix(PREFIX), []
    for producer in reversed(store.producers("pairs")):
        frame = store.pairs(producer)
        if output in frame.columns and output not in ("source", "target"):
            return producer, output, frame[output].null_count()
        known += [one for one in frame.columns if one not in ("source", "target")]
    raise NotFound.named("labelled output", output, sorted(set(known)))


def pair_view(
    store: Store, producer: Producer, output: str, targets: Ids, sources: Ids
) -> ArrayView:
    """S for the sids `targets` × `sources`; Incompatible if a pair was never asked about."""
    frame = store.pairs(producer).filter(
        pl.col("target").is_in(targets.tolist()) & pl.col("source").is_in(sources.tolist())
    )
    values = np.zeros((len(targets), len(sources)), np.float32)
    asked = targets[:, None] == sources[None, :]
    rows = np.searchsorted(targets, frame["target"].to_numpy())
    columns = np.searchsorted(sources, frame["source"].to_numpy())
    values[rows, columns] = frame[output].fill_null(0.0).to_numpy()
    asked[rows, columns] = True
    if missing := int((~asked).sum()):
        raise Incompatible(
            f"{missing:,} of {asked.size:,} pairs were never labelled with {producer.name}",
            hint="label them (--share 100%), or let an estimator fill in: influence-store train D",
        )
    return ArrayView(values)
