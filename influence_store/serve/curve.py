"""A gain curve as points of an SVG; colours are the stylesheet's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Doubles

WIDTH, HEIGHT = 640, 240
_MOST_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """Share of the whole gain (0..1) over the number of picks; `points` as in SVG's polyline.

    `half` is how many picks hold half of the gain.
    """

    points: str
    n: int
    half: int
    width: int = WIDTH
    height: int = HEIGHT


def curve(gains: Doubles) -> Curve | None:
    """Of gains (n,) in rank order; None where they add up to nothing."""
    value = np.cumsum(gains)
    if not len(value) or not np.isfinite(value).all() or value[-1] <= 0:
        return None
    n = len(value)
    shares = np.clip(np.concatenate([[0.0], value / value[-1]]), 0, 1)
    kept = np.unique(np.linspace(0, n, min(n + 1, _MOST_POINTS)).round().astype(np.int64))
    points = " ".join(f"{k / n * WIDTH:.1f},{(1 - shares[k]) * HEIGHT:.1f}" for k in kept.tolist())
    return Curve(points, n, int(np.searchsorted(shares, 0.5)))
