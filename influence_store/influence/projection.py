"""How is a gradient of millions of numbers kept as a thousand, so that dot products survive?

    R = [R_1 R_2 …],   R_b = 1/√d · T_b S_b H D_b,   ⟨R g, R h⟩ ≈ ⟨g, h⟩ ± ‖g‖ ‖h‖ / √d

per block b of up to 2²⁰ coordinates: D_b and T_b random signs, H the Walsh–Hadamard matrix of ±1,
S_b a choice of d of its rows (block SRHT, arXiv 2210.11295; without T the blocks' first coordinates
would share a column). Every entry of R is ±1/√d with probability ½, as in the independent
Rademacher matrix of LESS (arXiv 2402.04333 §4), and dot products come out as well: a test compares
the two. But H needs no memory, and n log n instead of n · d steps, whatever d is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import hadamard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Floats, Ids

_BLOCK = 1 << 20
_RADIX = 32


class Projection:
    """A fixed random matrix R (dim, n) that is never formed; equal arguments, equal matrix.

    Where `dim` is None or at least n, R is the identity and every product is exact. ValueError
    if `dim` is not positive or larger than `block`, which must be a power of two.
    """

    def __init__(self, n: int, dim: int | None, *, seed: int = 0, block: int = _BLOCK) -> None:
        if dim is not None and not 0 < dim <= block:
            raise ValueError(f"gradients are projected to 1 to {block} dimensions, not {dim}")
        if block & (block - 1):
            raise ValueError(f"a block has a power of two of coordinates, not {block}")
        self.n = n
        self.exact = dim is None or dim >= n
        self.dim = n if dim is None else min(dim, n)
        self.seed = seed
        self.block = block
        widths = [] if self.exact else [self._width(start) for start in range(0, n, block)]
        self._blocks = [
            (width, _rows(width, self.dim, seed, b), _signs(self.dim, seed, 3 * b + 2))
            for b, width in enumerate(widths)
        ]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that decides R."""
        if self.exact:
            return {"projection": "none"}
        made = {"projection": "block-srht", "dim": self.dim, "seed": self.seed}
        return {**made, "block": self.block}

    def __call__(self, vector: Floats) -> Floats:
        """R · vector, (n,) → (dim,)."""
        if vector.shape != (self.n,):
            raise ValueError(f"expected a vector of {self.n} numbers, got shape {vector.shape}")
        if self.exact:
            return vector
        out = np.zeros(self.dim, np.float32)
        for b, (width, rows, signs) in enumerate(self._blocks):
            part = vector[b * self.block : (b + 1) * self.block]
            padded = np.zeros(width, np.float32)
            np.multiply(part, _signs(len(part), self.seed, 3 * b), out=padded[: len(part)])
            out += signs * walsh_hadamard(padded)[rows]
        out /= np.float32(np.sqrt(self.dim))
        return out

    def _width(self, start: int) -> int:
        """Rows of H for the block at `start`: it must hold the block and offer `dim` rows."""
        need = max(min(self.n - start, self.block), self.dim)
        return 1 << (need - 1).bit_length()


def walsh_hadamard(vector: Floats) -> Floats:
    """H · vector for the Sylvester matrix H of ±1, (2^k,) → (2^k,).

    H is a Kronecker product of small ones, so a few thin matrix products do the whole.
    """
    done, left, x = 1, len(vector), vector
    while left > 1:
        radix = min(_RADIX, left)
        left //= radix
        x = np.matmul(_small(radix), x.reshape(done, radix, left))
        done *= radix
    return x.reshape(len(vector))


@cache
def _small(n: int) -> Floats:
    return np.asarray(hadamard(n), np.float32)


# Raw bits only: NumPy promises their stream for good, but not that of its distributions.


def _signs(n: int, seed: int, stream: int) -> Floats:
    raw = np.random.Philox(key=[seed, stream]).random_raw(-(-n // 64))
    bits = np.unpackbits(raw.astype("<u8").view(np.uint8))[:n]
    signs = bits.astype(np.float32)
    signs *= 2.0
    signs -= 1.0
    return signs


def _rows(width: int, dim: int, seed: int, block: int) -> Ids:
    """`dim` different rows out of `width`, ascending: those with the smallest random keys."""
    keys = np.random.Philox(key=[seed, 3 * block + 1]).random_raw(width)
    return np.sort(np.argsort(keys, kind="stable")[:dim]).astype(np.int64)
