"""A stored selection and samples by the beginnings of their ids, as other jobs read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.jobs.samples import read_samples
from influence_store.store.selections import find_selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from influence_store.protocols import Doubles, Ids
    from influence_store.schema.catalog import Selection
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

HEAD = 60


@dataclass(frozen=True)
class StoredSelection:
    """The picks of a selection in rank order: `sids` (n,) and `gains` (n,), NaN where unknown."""

    row: Selection
    version: Version
    sids: Ids
    gains: Doubles


def stored_selection(store: Store, name: str) -> StoredSelection:
    """The selection whose id begins with `name`; NotFound tells the known ones."""
    row = find_selection(store.database, name)
    block = [one for one in store.blocks("selection") if one.id == row.block_id]
    table = pa.Table.from_batches(list(store.scan(block, ["rank", "sid", "gain"])))
    order = np.argsort(table["rank"].to_numpy())
    return StoredSelection(
        row,
        store.version_by_id(row.dataset_version_id),
        table["sid"].to_numpy()[order],
        table["gain"].to_numpy()[order].astype(np.float64),
    )


@dataclass(frozen=True)
class Names:
    """Ids (hex) and first words of some samples by sid."""

    ids: dict[int, str]
    prompts: dict[int, str]


def names_of(store: Store, sids: Iterable[int]) -> Names:
    """What people call the samples `sids`: read from the store for just these."""
    wanted = BitMap(sids)
    ids: dict[int, str] = {}
    for batch in store.scan(store.blocks("samples"), ["sid", "sample_id"], wanted):
        raw = (one.hex() for one in batch["sample_id"].to_pylist())
        ids.update(zip(batch["sid"].to_pylist(), raw, strict=True))
    found, samples = read_samples(store, wanted)
    texts = (_head(" ".join(one.prompt[: 4 * HEAD].split())) for one in samples)
    return Names(ids, dict(zip(found.tolist(), texts, strict=True)))


def _head(text: str) -> str:
    return text if len(text) <= HEAD else f"{text[: HEAD - 1].rstrip()}…"
