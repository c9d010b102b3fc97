"""Samples back from the store, in ascending sid order, chunk by chunk."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import orjson
from pyroaring import BitMap

from influence_store.schema.sample import Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Ids
    from influence_store.store.store import Store


def chunks(bits: BitMap, n_rows: int) -> Iterator[BitMap]:
    """Split into bitmaps of at most `n_rows` ascending sids."""
    sids = bits.to_array()
    for k in range(0, len(sids), n_rows):
        yield BitMap(sids[k : k + n_rows])


def growing(least: int, most: int, share: float) -> Iterator[int]:
    """Sizes of shards without end, from `least` to `most`, each that share of all before it.

    So a kill costs so much of the work done, whatever a row takes, beyond one smallest shard.
    """
    done = 0
    while True:
        size = min(most, max(least, int(done * share)))
        yield size
        done += size


def growing_chunks(bits: BitMap, least: int, most: int) -> Iterator[BitMap]:
    """Split into bitmaps of ascending sids, each a quarter of all before it; see `growing`."""
    left = iter(bits)
    for size in growing(least, most, 1 / 4):
        if not (part := BitMap(islice(left, size))):
            return
        yield part


def read_samples(store: Store, bits: BitMap) -> tuple[Ids, list[Sample]]:
    """The sids of `bits`, ascending, and the sample behind each."""
    found: dict[int, Sample] = {}
    columns = ["sid", "turns", "system", "tools"]
    for batch in store.scan(store.blocks("samples"), columns, bits):
        for row in batch.to_pylist():
            found[row["sid"]] = _sample(row["turns"], row["system"], row["tools"])
    sids = np.array(sorted(found), np.int64)
    return sids, [found[sid] for sid in sids.tolist()]


def _sample(turns: str, system: str, tools: str) -> Sample:
    return Sample(
        tuple(Turn(role, text) for role, text in orjson.loads(turns)), system=system, tools=tools
    )
