"""What every embedder's vectors must be: finite, not zero, of length one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats


class UnusableVector(InputError):
    """A text whose vector has no direction; `text` is its number."""

    def __init__(self, text: int, what: str, embedder: str) -> None:
        super().__init__(
            f"the vector of text {text} is {what} (embedder {embedder}); expected finite numbers, "
            "not all zero",
            hint="look at that sample's text, or run embed with another --embedder",
        )
        self.text = text


def unit_rows(raw: npt.NDArray[Any], embedder: str, *, first: int = 0) -> Floats:
    """Rows of (n, dim) divided by their length, float32.

    UnusableVector names the first text (numbered from `first`) whose vector holds NaN or infinity,
    or is zero: it has no direction, so its cosine with anything is undefined.
    """
    wide = np.asarray(raw, np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1))
    bad = ~np.isfinite(lengths) | (lengths == 0)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise UnusableVector(first + k, "all zero" if lengths[k] == 0 else "not finite", embedder)
    units: Floats = (wide / lengths[:, None]).astype(np.float32)
    return units
