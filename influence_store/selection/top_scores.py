"""Which samples score highest, without the extreme tail?

The tail of a hardness score holds mislabelled and broken samples, so pruning methods keep the
window below it: Data Diet (arXiv 2107.07075) drops the top share and keeps what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.picks import Picks, check_budget

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Doubles, Ids


def top_scores(
    budget: int,
    *,
    scores: npt.ArrayLike,
    drop_top: float = 0.0,
    lowest: bool = False,
    within: tuple[float, float] = (float("-inf"), float("inf")),
) -> Picks:
    """The best scores, best first; ties go to the lowest position.

    Never chosen and counted: samples without a score (NaN), those outside low ≤ score < high of
    `within` (IFD keeps what is below 1), then the best `drop_top` share of the rest. `lowest`
    means that a low score is the better one, and the tail dropped is the low one.
    """
    values = np.asarray(scores, np.float64)
    pool = Ranked.of(values, drop_top=drop_top, lowest=lowest, within=within)
    check_budget(budget, len(pool.order), len(values), pool.dropped)
    items = pool.order[:budget]
    return Picks(
        items,
        values[items],
        {
            "selector": "top",
            "gain": "score",
            "n": len(values),
            "drop_top": drop_top,
            "lowest": lowest,
            "within": [float(bound) if np.isfinite(bound) else None for bound in within],
            "dropped": pool.dropped,
        },
    )


@dataclass(frozen=True)
class Ranked:
    """Positions that may be chosen, best score first, and why the others may not."""

    order: Ids
    dropped: dict[str, int]

    @classmethod
    def of(
        cls,
        values: Doubles,
        *,
        drop_top: float,
        lowest: bool,
        within: tuple[float, float] = (float("-inf"), float("inf")),
    ) -> Ranked:
        """ValueError unless 0 ≤ drop_top < 1; the share dropped is rounded down to samples."""
        if not 0.0 <= drop_top < 1.0:
            raise ValueError(f"drop_top is {drop_top}; expected a share from 0 to below 1")
        scored = ~np.isnan(values)
        inside = scored & (values >= within[0]) & (values < within[1])
        inside |= scored & np.isposinf(values) & np.isposinf(within[1])
        left = np.flatnonzero(inside)
        order = left[np.argsort(values[left] if lowest else -values[left], kind="stable")]
        # 0.29 × 100 is 28.999…: the tiny share keeps rounding down honest.
        n_top = int(drop_top * len(order) + 1e-9)
        dropped: dict[str, Any] = {
            "without a score": int((~scored).sum()),
            "outside the limits": int(scored.sum() - inside.sum()),
            "in the dropped tail": n_top,
        }
        return cls(order[n_top:], dropped)
