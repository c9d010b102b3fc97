"""Which stored vectors have the largest product with a given one? Exact, by LanceDB's search.

Blocks are searched one after another without an index, so nothing is approximate; the best of
all blocks' best are the best of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from influence_store.store import grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.store.grid import BlockRef
    from influence_store.store.storage import Storage


def nearest(
    storage: Storage, blocks: Sequence[BlockRef], query: Floats, k: int, bits: BitMap
) -> tuple[Ids, Doubles]:
    """The `k` sids of `bits` with the largest ⟨vector, query⟩, best first, and those products.

    Ties go to the lower sid. Fewer than `k` where fewer have a cell; vectors of rows that could
    not be measured are zero and never returned.
    """
    sids: list[Ids] = []
    products: list[Doubles] = []
    for block in blocks:
        wanted = block.bits & bits
        if not wanted:
            continue
        table = grid.open_block(storage, block)
        # Rows of the block that do not count may stand before the k that do.
        depth = min(block.n_rows, k + block.n_rows - len(wanted))
        found = table.nearest(query, depth, "measured" if "measured" in table.schema.names else "")
        vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, len(query))
        ours = np.array([sid in wanted for sid in found["sid"].to_pylist()], np.bool_)
        sids.append(found["sid"].to_numpy()[ours])
        products.append(vectors[ours].astype(np.float64) @ query.astype(np.float64))
    if not sids:
        return np.zeros(0, np.int64), np.zeros(0)
    all_sids, all_products = np.concatenate(sids), np.concatenate(products)
    order = np.lexsort((all_sids, -all_products))[:k]
    return all_sids[order], all_products[order]
