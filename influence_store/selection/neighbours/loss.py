"""How much did the neighbour index cost a selection? Measured on some targets, not promised.

    share = f(A) / f⁺(A),    f(A)  = Σ_i ( max_{j∈A} S[i, j] − floor )
                             f⁺(A) = Σ_i ( max(S[i, k-th nearest], max_{j∈A} S[i, j]) − floor )

over a random sample of targets i, for which every pair is looked at. f⁺ is an upper limit of f: a
source that is not among the k nearest of i is no nearer than the k-th. Were the picks A as good for
f⁺ as those of exact greedy, f⁺(A) would bound what exact greedy reaches, and `share` what A loses.
That is an estimate, neither bound nor proof: on real embeddings (t0, 5,000 and 20,000 rows, budgets
0.5 % to 10 %, k = 64) it was off the true f(A) / f(exact) by −.028 to +.001.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.selection.neighbours.cells import Cells
from influence_store.selection.neighbours.search import search

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.selection.neighbours.index import Neighbours

_TILE = 4096
_TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Share:
    """About `share` of what exact selection reaches was reached; an estimate, up to 1.

    `low` to `high` is its 95 % interval, for `targets` of all targets were looked at. Coverage
    counts from `floor`, the smallest similarity seen between them and the picks. `recall` is the
    share of their k nearest that the index names.
    """

    share: float
    low: float
    high: float
    recall: float
    targets: int
    floor: float

    def facts(self) -> dict[str, Any]:
        """As stored with a selection."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return (
            f"about {self.share:.1%} [{self.low:.1%}, {self.high:.1%}] of what exact "
            f"selection would reach; the index names {self.recall:.1%} of the nearest neighbours "
            f"(measured on {self.targets:,} targets)"
        )


def expected_share(
    vectors: Floats,
    neighbours: Neighbours,
    chosen: Ids,
    *,
    targets: int = 256,
    seed: int = 0,
    threads: int | None = None,
) -> Share:
    """`share` of the picks `chosen` (positions) on random rows of `vectors` (n, d).

    ValueError if nothing is chosen.
    """
    if not len(chosen):
        raise ValueError("nothing is chosen; expected the picks to judge")
    n, k = neighbours.index.shape
    rows = np.sort(np.random.default_rng(seed).choice(n, min(targets, n), replace=False))
    one = Cells(vectors[:1], vectors[0], 1)
    exact = search(vectors, np.zeros(n, np.int32), one, rows, k, threads=threads).lists
    best, floor = _cover(vectors[rows], vectors, chosen)
    limit = np.maximum(best, exact.values[:, -1])
    share, error = _ratio(best - floor, limit - floor, n)
    listed = (exact.sources[:, :, None] == neighbours.index[rows][:, None, :]).any(axis=2)
    margin = _TWO_SIDED_95 * error
    return Share(
        share=share,
        low=share - margin,
        high=min(share + margin, 1.0),
        recall=float(listed.mean()),
        targets=len(rows),
        floor=floor,
    )


def _cover(targets: Floats, vectors: Floats, chosen: Ids) -> tuple[Doubles, float]:
    """max_{j∈chosen} ⟨target, x_j⟩ of each target, and the smallest of all these products."""
    best, floor = np.full(len(targets), -np.inf), np.inf
    for start in range(0, len(chosen), _TILE):
        products = targets @ vectors[chosen[start : start + _TILE]].T
        best = np.maximum(best, products.max(axis=1))
        floor = min(floor, float(products.min()))
    return best, floor


def _ratio(above: Doubles, below: Doubles, n: int) -> tuple[float, float]:
    """Σ above / Σ below of a sample out of n, and its standard error (linearised)."""
    total, m = below.sum(), len(above)
    share = float(above.sum() / total) if total > 0 else 1.0
    if total <= 0 or m in (1, n):
        return share, 0.0
    spread = float(np.std(above - share * below, ddof=1)) * np.sqrt(1 - m / n)
    return share, float(spread * np.sqrt(m) / total)
