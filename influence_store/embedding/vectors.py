"""What every embedder's vectors must be: finite, not zero, of length one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats


def unit_rows(raw: npt.NDArray[Any], embedder: str, *, first: int = 0) -> Floats:
    """Rows of (n, dim) divided by their length, float32.

    InputError names the first text (numbered from `first`) whose vector holds NaN or infinity,
    or is zero: it has no direction, so its cosine with anything is undefined.
    """
    wide = np.asarray(raw, np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1))
    bad = ~np.isfinite(lengths) | (lengths == 0)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        what = "all zero" if lengths[k] == 0 else "not finite"
        raise InputError(
            f"the vector of text {first + k} is {what} (embedder {embedder}); expected finite "
            "numbers, not all zero",
            hint="look at that sample's text, or run embed with another --embedder",
        )
    units: Floats = (wide / lengths[:, None]).astype(np.float32)
    return units
