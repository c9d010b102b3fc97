"""Which samples would chance take? The baseline that every other selection must beat.

The order is that of a hash over seed and content. So it depends neither on where a sample is
stored nor on which others there are: a prefix is the choice for a smaller budget, and when data
are added or removed, the samples that stay keep their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.schema.identity import content_order
from influence_store.selection.picks import Picks, check_budget

if TYPE_CHECKING:
    from collections.abc import Sequence


def random_choice(budget: int, *, ids: Sequence[bytes], seed: int) -> Picks:
    """`budget` of the samples, every set of that size as likely as any other."""
    check_budget(budget, len(ids), len(ids), {})
    return Picks(
        items=np.array(content_order(ids, seed)[:budget], np.int64),
        gains=np.full(budget, np.nan),
        facts={"selector": "random", "gain": "none", "n": len(ids), "seed": seed},
    )
