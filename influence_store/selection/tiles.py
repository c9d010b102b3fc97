"""How is a view read from end to end without ever being held whole?

Everything here hands out columns: (n_sources, n_targets), so that the values of one source lie
side by side in memory. That is the order in which a set function asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from influence_store.protocols import Floats, Gains, Ids, PairwiseView

TILE_BYTES = 32 << 20

T = TypeVar("T", bound="np.generic")


def columns(view: PairwiseView, sources: Ids) -> Floats:
    """All values of `sources`, (len(sources), n_targets), one contiguous row per source."""
    targets = np.arange(view.shape[0])
    return np.ascontiguousarray(view.block(targets, sources).T, dtype=np.float32)


def tiles(
    view: PairwiseView, sources: Ids, tile_bytes: int = TILE_BYTES
) -> Iterator[tuple[Ids, Floats]]:
    """`sources` in order, as many at a time as fit `tile_bytes`, each with its `columns`."""
    width = max(1, tile_bytes // (4 * max(1, view.shape[0])))
    for start in range(0, len(sources), width):
        part = sources[start : start + width]
        yield part, columns(view, part)


def lower_bound(view: PairwiseView) -> float:
    """The smallest value of the view: the floor that makes facility location offset-free.

    ValueError if the view is empty or holds a value that is not finite.
    """
    check_filled(view)
    known: float | None = getattr(view, "low", None)
    if known is not None:
        return known
    lowest = np.inf
    with progress("smallest value", view.shape[1], "sources") as advance:
        for sources, values in tiles(view, np.arange(view.shape[1])):
            check_finite(sources, values)
            lowest = min(lowest, float(values.min()))
            advance(len(sources))
    return lowest


def best_over(view: PairwiseView, sources: Ids, tile_bytes: int = TILE_BYTES) -> Gains:
    """max_{j ∈ sources} S[i, j] for every target i, (n_targets,); −inf where there is no source."""
    directly: Callable[[Ids], Floats] | None = getattr(view, "best", None)
    if directly is not None:
        return directly(sources).astype(np.float64)
    best = np.full(view.shape[0], -np.inf)
    for _, values in tiles(view, sources, tile_bytes):
        np.maximum(best, values.max(axis=0), out=best)
    return best


def check_filled(view: PairwiseView) -> None:
    """ValueError if the view has no row or no column."""
    if 0 in view.shape:
        raise ValueError(
            f"a kernel of {view.shape[0]} targets × {view.shape[1]} sources has nothing to "
            "select from; expected at least one of each"
        )


def check_finite(sources: Ids, values: npt.NDArray[Any]) -> None:
    """ValueError naming the first of `sources` whose row of `values` has a NaN or infinity."""
    wrong = ~np.isfinite(values).reshape(len(sources), -1).all(axis=1)
    if wrong.any():
        first = int(sources[int(np.argmax(wrong))])
        raise ValueError(
            f"{int(wrong.sum())} sources have values that are not finite, the first at position "
            f"{first}; expected a number for every pair (fill the missing ones first)"
        )


def is_everything(ids: Ids, n: int) -> bool:
    """Whether `ids` is exactly 0, 1, …, n − 1."""
    return len(ids) == n and np.array_equal(ids, np.arange(n))


def pick(rows: npt.NDArray[T], ids: Ids) -> npt.NDArray[T]:
    """`rows[ids]`, without the copy where `ids` is everything; not to be written to."""
    return rows if is_everything(ids, len(rows)) else rows[ids]
