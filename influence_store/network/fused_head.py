"""How is the relu head of a network run over millions of pairs?

    S[i, j] = Σ_k a_k max(p_ik + q_jk, 0) + b                   (the InfluenceNetwork, separated)

This is no matrix product: nothing but add, max, multiply-add, 3 h operations per pair. As a graph
of whole-array operations it writes r · c · h numbers to memory and reads them back; here the sum
of a pair stays in the cache. Sources lie along the vector registers and k runs in order, so that a
value is one chain of float32 operations: it does not depend on its tile, its neighbours or the
number of threads. Not-a-number passes through.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from influence_store.cores import share
from influence_store.jit import compiled
from influence_store.protocols import Doubles, Floats

#: A tile of sources, h × 512 numbers, fits the L2 cache up to h = 200; targets share the threads.
TILE_TARGETS, TILE_SOURCES = 1024, 512
#: Targets, and hidden units, per sweep over a tile: what one load of q_jk is used for.
PAIRED = 2


def relu_pairs(targets: Floats, sources: Floats, weight: Floats, offset: float) -> Floats:
    """S (r, c) float32 from vectors (r, h), (c, h) and a (h,), b; tiles share all cores.

    Within 1e-5 · max(1, |y|) of the float64 sum for weights and vectors of ordinary size.
    """
    if len(sources) < min(len(targets), TILE_SOURCES):
        # p + q = q + p to the last bit; the longer side fills the registers
        return relu_pairs(sources, targets, weight, offset).T
    p, a = _even(targets), _even(weight[None, :])[0]
    out = np.empty((len(targets), len(sources)), np.float32)

    def tile(corner: tuple[int, int]) -> None:
        column, row = corner
        rows, columns = slice(row, row + TILE_TARGETS), slice(column, column + TILE_SOURCES)
        _fill(p[rows], _across(sources[columns]), a, np.float32(offset), out[rows], column)

    columns = range(0, len(sources), TILE_SOURCES)
    share(tile, product(columns, range(0, len(targets), TILE_TARGETS)))
    return out


def relu_panel_means(panel: Floats, sources: Floats, weight: Floats, offset: float) -> Doubles:
    """Mean of S over the r > 0 targets of `panel` (r, h) for each source, (c,); S is never held."""
    p, a = _even(panel), _even(weight[None, :])[0]
    out = np.empty(len(sources))

    def tile(column: int) -> None:
        part = sources[column : column + TILE_SOURCES]
        sums = _column_sums(p, len(panel), _across(part), a)
        out[column : column + TILE_SOURCES] = sums[: len(part)] / len(panel) + offset

    share(tile, range(0, len(sources), TILE_SOURCES))
    return out


def _even(vectors: Floats) -> Floats:
    """A copy with a zero row and a zero column where their number is odd; they add nothing."""
    n, h = vectors.shape
    out = np.zeros((n + n % PAIRED, h + h % PAIRED), np.float32)
    out[:n, :h] = vectors
    return out


def _across(sources: Floats) -> Floats:
    """The transpose (h', TILE_SOURCES) of a tile, zero-filled: sources lie side by side."""
    n, h = sources.shape
    out = np.zeros((h + h % PAIRED, TILE_SOURCES), np.float32)
    out[:h, :n] = sources.T
    return out


#: `contract` lets multiply and add become one instruction; the order of sums stays.
_compiled = compiled("contract")


@_compiled
def _sweep(p: Floats, q: Floats, a: Floats, sums: Floats) -> None:
    """sums[t, j] = Σ_k a_k max(p_tk + q_kj, 0) for two targets t, k in order, two at a time.

    The tests for `< zero` are written out because max(x, 0) would turn a NaN into 0.
    """
    zero = np.float32(0)
    sums[:] = zero
    for k in range(0, len(a), PAIRED):
        p00, p01, p10, p11 = p[0, k], p[0, k + 1], p[1, k], p[1, k + 1]
        a0, a1 = a[k], a[k + 1]
        for j in range(TILE_SOURCES):
            q0, q1 = q[k, j], q[k + 1, j]
            x00, x01, x10, x11 = p00 + q0, p01 + q1, p10 + q0, p11 + q1
            first = sums[0, j] + a0 * (zero if x00 < zero else x00)
            sums[0, j] = first + a1 * (zero if x01 < zero else x01)
            second = sums[1, j] + a0 * (zero if x10 < zero else x10)
            sums[1, j] = second + a1 * (zero if x11 < zero else x11)


@_compiled
def _fill(p: Floats, q: Floats, a: Floats, offset: np.float32, out: Floats, column: int) -> None:
    """out[:, column:] = S of p (r', h') and the tile q (h', TILE_SOURCES), as far as `out` goes."""
    sums = np.empty((PAIRED, TILE_SOURCES), np.float32)
    width = min(TILE_SOURCES, out.shape[1] - column)
    for i in range(len(out)):
        t = i % PAIRED
        if t == 0:
            _sweep(p[i : i + PAIRED], q, a, sums)
        for j in range(width):
            out[i, column + j] = sums[t, j] + offset


@_compiled
def _column_sums(p: Floats, rows: int, q: Floats, a: Floats) -> Doubles:
    """Σ over the first `rows` targets of Σ_k a_k max(p_ik + q_kj, 0), (TILE_SOURCES,)."""
    sums = np.empty((PAIRED, TILE_SOURCES), np.float32)
    total = np.zeros(TILE_SOURCES, np.float64)
    for i in range(rows):
        t = i % PAIRED
        if t == 0:
            _sweep(p[i : i + PAIRED], q, a, sums)
        for j in range(TILE_SOURCES):
            total[j] += sums[t, j]
    return total
