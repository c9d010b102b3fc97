"""From one vector per token to one per text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids


def pool(hidden: npt.NDArray[Any], mask: Ids, pooling: str) -> Floats:
    """(n, length, dim) and its mask (n, length), true tokens first → (n, dim).

    `cls` takes the first token, `lasttoken` the last true one; `mean` and `max` run over the
    true ones.
    """
    vectors: Floats = np.asarray(hidden, np.float32)
    lengths = mask.sum(axis=1)
    if pooling == "cls":
        first: Floats = vectors[:, 0]
        return first
    if pooling == "lasttoken":
        last: Floats = vectors[np.arange(len(vectors)), lengths - 1]
        return last
    true = mask[:, :, None].astype(bool)
    if pooling == "max":
        highest: Floats = np.where(true, vectors, -np.inf).max(axis=1)
        return highest
    total: Floats = np.where(true, vectors, 0).sum(axis=1)
    total /= lengths[:, None].astype(np.float32)
    return total
