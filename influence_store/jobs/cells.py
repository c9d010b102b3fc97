"""What is stored of some sids, in their order: contents, lengths, how a vector was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pyroaring import BitMap

from influence_store.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Doubles, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store


def content_ids(store: Store, sids: Ids) -> list[bytes]:
    """The sample id behind each sid."""
    ids = store.sample_ids(BitMap(sids.astype(np.uint32)))
    by_sid = dict(zip(ids["sid"].to_list(), ids["sample_id"].to_list(), strict=True))
    return [by_sid[sid] for sid in sids.tolist()]


def sids_named(store: Store, prefixes: Sequence[str]) -> Ids:
    """The sid of the one sample whose id begins with each of `prefixes` (hex), in their order.

    NotFound if there is none, UsageError if there are several.
    """
    ids = store.sids_beginning(prefixes).with_columns(pl.col("sample_id").bin.encode("hex"))
    found = []
    for prefix in prefixes:
        fitting = ids.filter(pl.col("sample_id").str.starts_with(prefix.lower()))
        if fitting.height == 0 or not prefix:
            raise NotFound(
                f"no sample id begins with {prefix!r}",
                hint='see: influence-store query "select sample_id, prompt from samples limit 9"',
            )
        if fitting.height > 1:
            raise UsageError(
                f"{fitting.height} sample ids begin with {prefix!r}", hint="give more digits"
            )
        found.append(fitting["sid"][0])
    return np.array(found, np.int64)


def response_chars(store: Store, sids: Ids) -> Doubles:
    """Characters of each response, (n,)."""
    found: dict[int, int] = {}
    wanted = BitMap(sids.astype(np.uint32))
    for batch in store.scan(store.blocks("samples"), ["sid", "response_chars"], wanted):
        chars = batch["response_chars"].to_pylist()
        found.update(zip(batch["sid"].to_pylist(), chars, strict=True))
    return np.array([found[sid] for sid in sids.tolist()], np.float64)


def how_measured(store: Store, producer: Producer, sids: Ids) -> dict[str, Any]:
    """Of each sid's vector: `measured`, `n_tokens` and `truncated`, each (n,)."""
    columns = ("measured", "n_tokens", "truncated")
    place = {sid: k for k, sid in enumerate(sids.tolist())}
    out: dict[str, Any] = {
        name: np.zeros(len(sids), np.int64 if name == "n_tokens" else np.bool_) for name in columns
    }
    blocks = store.blocks(producer.kind, producer_id=producer.id)
    for batch in store.scan(blocks, ["sid", *columns], BitMap(sids.astype(np.uint32))):
        places = [place[sid] for sid in batch["sid"].to_pylist()]
        for name in columns:
            out[name][places] = batch[name].to_numpy(zero_copy_only=False)
    return out
