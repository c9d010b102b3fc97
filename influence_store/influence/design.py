"""Which pairs should the LLM be asked about? The seed from which an estimator learns.

Four designs, for methods that read a source once and then ask about all of its targets:

    complete  c sources, all with the same r targets, as square as the two sides allow
    column    c sources, each with r targets of its own, so that more targets are seen
    block     the same u samples as sources and as targets (NN-CIFT, arXiv 2502.09969)
    scatter   every sample is a source, and every sample a target, as evenly as can be

All follow a seeded order of the contents: a design does not depend on how the rows are stored, a
bigger budget continues a smaller one, and, except for `scatter`, a later version continues an
earlier one.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import UsageError
from influence_store.schema.identity import content_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Ids

    Design = Callable[[Sequence[bytes], Sequence[bytes], int, int], tuple[Ids, Ids]]

#: The design unless another is asked for.
COMPLETE = "complete"
_SMALLEST = 4


def complete(
    source_ids: Sequence[bytes], target_ids: Sequence[bytes], n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Positions (sources, targets), each (p,): all pairs of c random sources × r random targets.

    c · r ≈ `n_pairs`, as square as can be, and everything where there are fewer pairs than asked
    for. UsageError if the budget cannot hold the 4 × 4 pairs that training and checking need.
    """
    c, r = grid_shape(len(source_ids), len(target_ids), n_pairs)
    # Two orders, so that the seed's sources and targets are different samples.
    sources = source_order(source_ids, seed)[:c]
    targets = _order(target_ids, seed, "targets")[:r]
    return np.repeat(sources, r), np.tile(targets, c)


def block(
    source_ids: Sequence[bytes], target_ids: Sequence[bytes], n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Positions (sources, targets), each (p,): u × u pairs of the same samples on both sides.

    One order for both sides; where the sides share no samples this is `complete` with c = r.
    """
    check_budget(n_pairs)
    u = max(_SMALLEST, int(n_pairs**0.5))
    sources = _order(source_ids, seed, "block")[:u]
    targets = _order(target_ids, seed, "block")[:u]
    return np.repeat(sources, len(targets)), np.tile(targets, len(sources))


def column(
    source_ids: Sequence[bytes], target_ids: Sequence[bytes], n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Positions (sources, targets), each (p,): c random sources with r random targets each.

    c and r as in `complete`; each source has its own order of the targets.
    """
    c, r = grid_shape(len(source_ids), len(target_ids), n_pairs)
    sources = source_order(source_ids, seed)[:c]
    own = [_order(target_ids, seed, f"targets of {source_ids[j].hex()}")[:r] for j in sources]
    return np.repeat(sources, r), np.concatenate(own)


def scatter(
    source_ids: Sequence[bytes], target_ids: Sequence[bytes], n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Positions (sources, targets), each (p,), source by source: `n_pairs` pairs spread evenly.

    Both sides are dealt out in turn: pair number k takes source k mod n_s of the one order and
    the target at place k + k // lcm(n_s, n_t) mod n_t of the other. Thus no pair comes twice,
    and after any number of pairs two sources differ by at most one pair, and so do two targets.
    """
    check_budget(n_pairs)
    n_s, n_t = len(source_ids), len(target_ids)
    k = np.arange(min(n_pairs, n_s * n_t))
    around = k // np.lcm(n_s, n_t)
    sources = source_order(source_ids, seed)[k % n_s]
    targets = _order(target_ids, seed, "targets")[(k + around) % n_t]
    together = np.argsort(k % n_s, kind="stable")
    return sources[together], targets[together]


#: By the name that `label --design` takes.
DESIGNS: dict[str, Design] = {
    COMPLETE: complete,
    "block": block,
    "column": column,
    "scatter": scatter,
}


def grid_shape(n_sources: int, n_targets: int, n_pairs: int) -> tuple[int, int]:
    """How many sources and how many targets each; neither shrinks when `n_pairs` grows."""
    check_budget(n_pairs)
    q = isqrt(n_pairs)
    # Of (q + 1)² − 1 pairs q × (q + 2) would be more, but q + 1 squared does not contain it.
    r = min(q + 1, n_pairs // q) if q <= n_sources else n_pairs // n_sources
    r = min(r, n_targets)
    return min(n_sources, n_pairs // r), r


def check_budget(n_pairs: int) -> None:
    """UsageError if `n_pairs` cannot hold the 4 × 4 pairs that training and checking need."""
    if n_pairs < _SMALLEST**2:
        raise UsageError(
            f"{n_pairs} pairs are too few to learn from",
            hint=f"ask for at least {_SMALLEST**2}; a few thousand make a useful estimator",
        )


def source_order(ids: Sequence[bytes], seed: int) -> Ids:
    """Positions (n,) of sources in the order in which all designs but `block` take them."""
    return _order(ids, seed, "sources")


def _order(ids: Sequence[bytes], seed: int, purpose: str) -> Ids:
    return np.array(content_order(ids, seed, purpose), np.int64)
