"""How are unit vectors multiplied in whole numbers, twice as fast as in float32?

    q = rint(f x),    ⟨x, y⟩ = ⟨q_x, q_y⟩ / f² ± (2 E L + E²)

with L the longest vector and E the largest rounding error of one. q fits 16 bits and ⟨q_x, q_y⟩
32, so nothing is rounded after that: every machine, block shape and order gives the same number.
Processors multiply 16-bit numbers in pairs (AVX2 `vpmaddwd`, AVX-512 `vpdpwssd`), two for each
that they multiply in float32. Compilers do not find these instructions in a loop, so the innermost
block is written in them here, and in plain arithmetic for other processors.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from influence_store.selection.engine.compiled import fast
from influence_store.selection.grid import lengths_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Floats

    Words = npt.NDArray[np.int16]
    Halves = npt.NDArray[np.uint16]

#: The longest vector in whole numbers: with it ⟨q_x, q_y⟩ / 2¹⁵ fits 16 bits too.
_LONGEST = 32_000
#: Panels are made of so many rows or fewer, whatever the processor: a multiple of all blocks.
ROWS = 48


@dataclass(frozen=True)
class WholeVectors:
    """`words` (n, d) int16, d even; ⟨x, y⟩ = ⟨words_x, words_y⟩ · unit / 2¹⁵ ± error."""

    words: Words
    unit: float
    error: float

    @classmethod
    def of(cls, vectors: Floats) -> WholeVectors:
        """`vectors` (n, d) float32, rounded; any scale."""
        longest = float(lengths_of(vectors).max(initial=0.0)) * (1 + 1e-4) or 1.0  # a float32 sum
        factor = _LONGEST / longest
        n, d = vectors.shape
        words = np.zeros((n, d + d % 2), np.int16)
        off = _round(vectors, factor, words) ** 0.5 / factor
        return cls(words, 2.0**15 / factor**2, off * (2 * longest + off))


@dataclass(frozen=True)
class Panels:
    """Rows as the innermost block reads them: (panels, d / 2, rows of a panel, 2), then zeros."""

    left: Words
    right: Words


def shape_for(features: str) -> tuple[int, int, int]:
    """Rows, vectors of columns and lanes of the innermost block: sums that the registers hold.

    `features` as LLVM writes them: `+avx2,-avx512f`.
    """
    present = features.split(",")
    if "+avx512vnni" in present and "+avx512bw" in present:
        return 8, 3, 16
    if "+avx2" in present:
        return 4, 2, 8
    return 4, 4, 4


@cache
def block_shape() -> tuple[int, int, int]:
    """`shape_for` what numba compiles for: this processor, unless its settings say otherwise."""
    told = config.CPU_FEATURES
    return shape_for(get_host_cpu_features() if told is None else told)


def panels_of(words: Words) -> Panels:
    """Some rows, made ready to be multiplied with others."""
    high, wide, lanes = block_shape()
    n, d = words.shape
    sides = []
    for size in (high, wide * lanes):
        side = np.empty((-(-n // size), d // 2, size, 2), np.int16)
        _pack(words, side)
        sides.append(side)
    return Panels(sides[0], sides[1])


def rounded_products(rows: Panels, columns: Panels, out: Halves) -> None:
    """out[i, j] = 2¹⁵ + ⟨row i, column j⟩ / 2¹⁵, rounded; `out` (rows, columns) uint16."""
    _multiply(rows.left, columns.right, out)


@fast
def _round(vectors: Floats, factor: float, words: Words) -> float:
    """words = rint(factor · vectors); the largest squared length of what that leaves out."""
    worst = 0.0
    for i in range(len(vectors)):
        total = 0.0
        for k in range(vectors.shape[1]):
            scaled = np.float64(vectors[i, k]) * factor
            rounded = np.rint(scaled)
            words[i, k] = np.int16(rounded)
            total += (scaled - rounded) * (scaled - rounded)
        worst = max(worst, total)
    return worst


@fast
def _pack(words: Words, out: Words) -> None:
    """`words` (n, d), `size` rows side by side; zeros beyond the last."""
    size = out.shape[2]
    for panel in range(len(out)):
        for r in range(size):
            row = panel * size + r
            for k in range(out.shape[1]):
                inside = row < len(words)
                out[panel, k, r, 0] = words[row, 2 * k] if inside else 0
                out[panel, k, r, 1] = words[row, 2 * k + 1] if inside else 0


@fast
def _multiply(left: Words, right: Words, out: Halves) -> None:
    high, wide = left.shape[2], right.shape[2]
    block = np.empty((high, wide), np.int32)
    for c in range(len(right)):
        for r in range(len(left)):
            _block(left[r].ctypes.data, right[c].ctypes.data, block.ctypes.data, left.shape[1])
            for i in range(min(high, len(out) - r * high)):
                for j in range(min(wide, out.shape[1] - c * wide)):
                    rounded = (block[i, j] + np.int32(1 << 14)) >> np.int32(15)
                    out[r * high + i, c * wide + j] = np.uint16(rounded + np.int32(1 << 15))


@intrinsic  # type: ignore[untyped-decorator]
def _block(_: Any, _left: Any, _right: Any, _out: Any, _pairs: Any) -> Any:
    """out (high, wide) = Σ_k left[k, :, 0] right[k, :, 0] + left[k, :, 1] right[k, :, 1].

    The addresses of a panel of each side and of int32 sums, and how many pairs k there are.
    """
    return types.void(types.uintp, types.uintp, types.uintp, types.int64), _write_block


def _write_block(_context: Any, build: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
    """One loop over k, its sums in registers."""
    high, wide, lanes = block_shape()
    i32, i64 = ir.IntType(32), ir.IntType(64)
    sums, words = ir.VectorType(i32, lanes), ir.VectorType(ir.IntType(16), 2 * lanes)
    left, right, out = (
        build.inttoptr(address, ir.PointerType(kind))
        for address, kind in zip(arguments, (i32, words, sums), strict=False)
    )
    before, loop = build.block, build.append_basic_block("pairs")
    build.branch(loop)
    build.position_at_end(loop)
    k = build.phi(i64)
    k.add_incoming(i64(0), before)
    totals = [build.phi(sums) for _ in range(high * wide)]
    columns = [_load(build, right, k, wide, v) for v in range(wide)]
    found = []
    for r in range(high):
        one = build.insert_element(sums(ir.Undefined), _load(build, left, k, high, r), i32(0))
        every = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
        row = build.bitcast(build.shuffle_vector(one, sums(ir.Undefined), every), words)
        for v, column in enumerate(columns):
            found.append(_add_products(build, totals[r * wide + v], row, column))
    following = build.add(k, i64(1))
    k.add_incoming(following, loop)
    for total, more in zip(totals, found, strict=True):
        total.add_incoming(ir.Constant(sums, [0] * lanes), before)
        total.add_incoming(more, loop)
    after = build.append_basic_block("sums")
    build.cbranch(build.icmp_signed("<", following, arguments[3]), loop, after)
    build.position_at_end(after)
    for place, more in enumerate(found):
        build.store(more, build.gep(out, [i64(place)])).align = 4
    return ir.Constant(ir.IntType(8).as_pointer(), None)


def _load(build: ir.IRBuilder, base: ir.Value, k: ir.Value, step: int, place: int) -> ir.Value:
    i64 = ir.IntType(64)
    value = build.load(build.gep(base, [build.add(build.mul(k, i64(step)), i64(place))]))
    value.align = 2
    return value


def _add_products(build: ir.IRBuilder, total: ir.Value, one: ir.Value, other: ir.Value) -> ir.Value:
    """total[l] + one[2 l] other[2 l] + one[2 l + 1] other[2 l + 1], for every lane l."""
    words, sums = one.type, total.type
    if sums.count == 16:
        kind = ir.FunctionType(sums, [sums, words, words])
        name = "llvm.x86.avx512.vpdpwssd.512"
        return build.call(build.module.declare_intrinsic(name, (), kind), [total, one, other])
    if sums.count == 8:
        name, kind = "llvm.x86.avx2.pmadd.wd", ir.FunctionType(sums, [words, words])
        return build.add(
            total, build.call(build.module.declare_intrinsic(name, (), kind), [one, other])
        )
    for first in (0, 1):  # of every pair; for a compiler to find what its processor has
        places = ir.Constant(ir.VectorType(ir.IntType(32), sums.count), _every_second(sums, first))
        mine, its = (
            build.sext(build.shuffle_vector(side, words(ir.Undefined), places), sums)
            for side in (one, other)
        )
        total = build.add(total, build.mul(mine, its))
    return total


def _every_second(sums: ir.VectorType, first: int) -> list[int]:
    return list(range(first, 2 * sums.count, 2))
