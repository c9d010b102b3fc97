"""Small instances of every registered set function, for the laws."""

from __future__ import annotations

import numpy as np

from influence_store.selection import FUNCTIONS
from influence_store.selection.views import ArrayView

NAMES = sorted(FUNCTIONS.builtin)


def kernel(rng, m, n, *, ties, signed):
    """(m, n): random floats, or eighths with many equal values (exact in float32)."""
    values = rng.integers(0, 4, (m, n)) / 8 if ties else rng.random((m, n))
    return (values - 0.25 if signed else values).astype(np.float32)


def instance(name, rng, *, ties=False, m=6, n=8, wrap=ArrayView, **settings):
    """The function `name` over a random kernel, seen through `wrap`."""
    signed = name in {"facility-location", "flcg"}
    pool = kernel(rng, m, n, ties=ties, signed=signed)
    other = kernel(rng, m, 2, ties=ties, signed=signed)
    make = FUNCTIONS.get(name)
    match name:
        case "facility-location":
            return make(wrap(pool), float(pool.min()), **settings)
        case "flqmi":
            return make(wrap(pool), eta=0.75, **settings)
        case "fl1mi":
            return make(wrap(pool), wrap(other), eta=1.25, **settings)
        case "flcg":
            return make(wrap(pool), wrap(other), nu=0.75, **settings)
    raise AssertionError(f"write an instance of {name}, so that the laws test it")
