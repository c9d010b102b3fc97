"""Which pairs should the LLM be asked about? The seed from which an estimator learns.

A column design asks a few sources about many targets, since a source is read once for all of
them. The order is a seeded one of the contents: it does not depend on how the rows are stored, a
bigger budget continues a smaller one, and a later version continues an earlier one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import UsageError
from influence_store.schema.identity import content_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Ids

_SMALLEST = 4


def column_design(
    source_ids: Sequence[bytes], target_ids: Sequence[bytes], n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Positions of the seed's sources (c,) and targets (r,), with c · r ≈ `n_pairs`.

    As square as the two sides allow, and everything where there are fewer pairs than asked for.

    UsageError if the budget cannot hold the 4 × 4 pairs that training and checking need.
    """
    if n_pairs < _SMALLEST**2:
        raise UsageError(
            f"{n_pairs} pairs are too few to learn from",
            hint=f"ask for at least {_SMALLEST**2}; a few thousand make a useful estimator",
        )
    n_sources = min(len(source_ids), max(_SMALLEST, round(n_pairs**0.5)))
    n_targets = min(len(target_ids), max(_SMALLEST, n_pairs // n_sources))
    n_sources = min(len(source_ids), max(n_sources, n_pairs // n_targets))
    # Two orders, so that the seed's sources and targets are different samples.
    sources = content_order(source_ids, seed, "sources")[:n_sources]
    targets = content_order(target_ids, seed, "targets")[:n_targets]
    return np.array(sources, np.int64), np.array(targets, np.int64)
