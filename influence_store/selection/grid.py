"""On which numbers does greedy selection add up without rounding?

    grid(v) = (v + 3 s) − 3 s  in float32,   s a power of two ≥ |v|

is v rounded to a multiple of s · 2⁻²², at most s · 1.2e-7 away, no more than a float32 product of
two vectors is off by itself. Differences of such values are multiples of the same unit below 2 s,
and float64 holds sums of 2³⁰ of them exactly. So a gain is the same number in whatever order, on
however many threads, from a whole row or from its few pairs that still count: every optimizer
gives the same picks, and equal samples tie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Floats, Gains


def scale_of(largest: float) -> float:
    """The smallest power of two ≥ `largest` > 0; 1 for 0. ValueError unless it is finite."""
    if not np.isfinite(largest):
        raise ValueError(f"the largest value is {largest}; expected a finite number")
    return float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0


def lengths_of(vectors: Floats) -> Floats:
    """The length of every row of `vectors` (n, d), (n,)."""
    lengths: Floats = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))  # norm copies them all
    return lengths


def to_grid(values: Floats, scale: float) -> Floats:
    """`values` (float32, |v| ≤ scale), rounded in place to multiples of scale · 2⁻²²."""
    magic = np.float32(3.0 * scale)
    values += magic
    values -= magic
    return values


def levels_on_grid(levels: Gains | Doubles, scale: float) -> Floats:
    """Levels or caps of a kernel of this scale: what lies beyond ± scale acts as ± scale."""
    return to_grid(np.clip(levels, -scale, scale).astype(np.float32), scale)
