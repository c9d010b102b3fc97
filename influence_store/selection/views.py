"""Where do the values of a kernel come from, block by block?

A view is a matrix (n_targets, n_sources) of which any block can be asked for: computed from the
vectors of both sides, read from an array, or another view seen differently. The views compose;
`DenseView.of` then keeps the result in memory if it fits. A value of a view never depends on the
block it is asked in; kept in memory it is on a grid, at most 2e-7 of the largest value away.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.progress import progress
from influence_store.selection.grid import lengths_of, scale_of, to_grid
from influence_store.selection.tiles import (
    check_filled,
    check_finite,
    is_everything,
    pick,
    tiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Floats, Ids, PairwiseView
    from influence_store.selection.engine.half import HalfView

_PANEL = 8192
_HEAD_BYTES = 8 << 20


class ProductView:
    """Products of two vectors: S[i, j] = ⟨t_i, s_j⟩, as bilinear methods define it.

    Products are summed in float64 and rounded once. In float32 the last bits depend on the shape
    of the block (1 in 10 to 9 in 10 values differed between widths of 1 and 2,000), and equal
    samples would not tie.
    """

    def __init__(self, targets: Floats, sources: Floats) -> None:
        """(n_targets, d) and (n_sources, d); ValueError if the widths differ."""
        if targets.shape[1] != sources.shape[1]:
            raise ValueError(
                f"targets have {targets.shape[1]} dimensions and sources "
                f"{sources.shape[1]}; expected vectors of one embedder"
            )
        self.targets, self.sources = targets, sources

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        return len(self.targets), len(self.sources)

    @property
    def largest(self) -> float:
        """No |product| is larger, but for rounding: longest target times longest source."""
        longest = lengths_of(self.targets).max()
        own = self.sources is self.targets
        other = longest if own else lengths_of(self.sources).max()
        return float(longest * other) * (1 - 1e-5)  # vectors of length 1 are so up to rounding

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The products at rows × cols."""
        out = np.empty((len(cols), len(rows)), np.float32)
        targets, sources = pick(self.targets, rows), pick(self.sources, cols).astype(np.float64)
        for start in range(0, len(rows), _PANEL):
            panel = targets[start : start + _PANEL].astype(np.float64)
            out[:, start : start + _PANEL] = sources @ panel.T
        return out.T


class CosineView(ProductView):
    """Cosine similarity of unit vectors, in [−1, 1]; higher = closer."""

    def __init__(self, targets: Floats, sources: Floats) -> None:
        """(n_targets, d) and (n_sources, d); ValueError if a row is not of length 1."""
        unit = _unit_rows(targets, "target")
        super().__init__(unit, unit if sources is targets else _unit_rows(sources, "source"))


class EstimatorView:
    """An estimator's pair values: S[i, j] = head(p_i, q_j), evaluated in tiles.

    A head takes `pair_bytes` of working memory per pair, and a tile at most `max_bytes` of it. The
    relu head holds r · c · h numbers twice in float64, 16 h bytes per pair, which is the default;
    the dot head holds r · c, so 16 serve it better. (2,000² relu pairs with h = 100: 1.1 s in
    tiles of 8 MiB, 3.4 s in tiles of 32 MiB, on one core.)
    """

    def __init__(
        self,
        target_vectors: Floats,
        source_vectors: Floats,
        head: Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]],
        max_bytes: int = _HEAD_BYTES,
        pair_bytes: int | None = None,
    ) -> None:
        """(n_targets, h) and (n_sources, h), and a head that maps (r, h), (c, h) to (r, c)."""
        if target_vectors.shape[1:] != source_vectors.shape[1:]:
            raise ValueError(
                f"target vectors are {target_vectors.shape} and source vectors "
                f"{source_vectors.shape}; expected equal widths (of one estimator)"
            )
        self.target_vectors, self.source_vectors, self.head = target_vectors, source_vectors, head
        pairs = max(1, max_bytes // (pair_bytes or 16 * max(1, target_vectors.shape[1])))
        self._tile_rows = min(max(1, int(pairs**0.5)), max(1, len(target_vectors)))
        self._tile_cols = max(1, pairs // self._tile_rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        return len(self.target_vectors), len(self.source_vectors)

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The estimates at rows × cols."""
        out = np.empty((len(cols), len(rows)), np.float32).T
        targets, sources = pick(self.target_vectors, rows), pick(self.source_vectors, cols)
        high, wide = self._tile_rows, self._tile_cols
        for r in range(0, len(rows), high):
            for c in range(0, len(cols), wide):
                out[r : r + high, c : c + wide] = self.head(
                    targets[r : r + high], sources[c : c + wide]
                )
        return out


class ArrayView:
    """A matrix (n_targets, n_sources) that is already there."""

    def __init__(self, matrix: npt.ArrayLike) -> None:
        """ValueError unless the matrix has two axes."""
        self.matrix = np.asarray(matrix, np.float32)
        if self.matrix.ndim != 2:
            raise ValueError(f"expected (n_targets, n_sources), found shape {self.matrix.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols."""
        return self.matrix[np.ix_(rows, cols)]


class DenseView:
    """A view computed once and kept whole, the values of one source side by side.

    `low` is the smallest value; with a `scale` all values lie on its grid (selection/grid.py).
    `totals` (n_sources,), where known, are no smaller than Σ_i S[i, j].
    """

    def __init__(
        self,
        by_source: Floats,
        *,
        scale: float | None = None,
        low: float | None = None,
        totals: Doubles | None = None,
    ) -> None:
        """`by_source` (n_sources, n_targets): the transpose, contiguous."""
        self.by_source = np.ascontiguousarray(by_source, np.float32)
        self.scale, self.low, self.totals = scale, low, totals

    @classmethod
    def of(cls, view: PairwiseView, max_bytes: int) -> PairwiseView:
        """`view` held as float32 on its grid where that takes at most `max_bytes`, else `view`.

        Products of a set with itself are held as a half (engine/half.py).
        """
        from influence_store.selection.engine.half import HalfView

        if isinstance(view, DenseView | HalfView):
            return view
        n_targets, n_sources = view.shape
        need = HalfView.bytes_of(n_sources) if _is_own(view) else 4 * n_targets * n_sources
        if need > max_bytes:
            return view
        check_filled(view)
        return _held(view)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        return self.by_source.shape[1], self.by_source.shape[0]

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols; whole columns are read at the speed of memory."""
        values = self.by_source[cols]
        return (values if is_everything(rows, values.shape[1]) else values[:, rows]).T

    def put_diagonal(self, values: Floats) -> None:
        """S[i, i] = values[i], of a square view."""
        np.fill_diagonal(self.by_source, values)
        self.low, self.totals = float(self.by_source.min()), None

    def raise_to(self, floor: float) -> None:
        """Every smaller value becomes `floor`, which lies on the grid."""
        np.maximum(self.by_source, np.float32(floor), out=self.by_source)
        self.low, self.totals = float(self.by_source.min()), None


def screened(view: PairwiseView, max_bytes: int) -> PairwiseView:
    """`view` for coverage alone: its screen (engine/screen.py) where it is one of own cosines.

    Otherwise, and where the screen takes more than `max_bytes`, what `DenseView.of` makes of it.
    """
    from influence_store.selection.engine.screen import ScreenedView

    if isinstance(view, CosineView) and _is_own(view):
        check_filled(view)
        if ScreenedView.bytes_of(len(view.sources)) <= max_bytes:
            return ScreenedView(view.sources)
    return DenseView.of(view, max_bytes)


def _is_own(view: PairwiseView) -> bool:
    """Whether `view` stands on products of a set with itself, all of them."""
    if isinstance(view, Clipped | SelfCovered):
        return _is_own(view.view)
    return isinstance(view, ProductView) and view.targets is view.sources


def _held(view: PairwiseView) -> DenseView | HalfView:
    """`view` as a new matrix, on the grid of the smallest power of two that bounds it."""
    match view:
        case ProductView():
            return _products(view)
        case SelfCovered():
            held = _held(view.view)
            held.put_diagonal(_best_off_diagonal(held))
            return held
        case RowsView(view=ProductView() as products):
            return _products(ProductView(products.targets[view.rows], products.sources))
        case Clipped():
            held = _held(view.view)
            held.raise_to(max(float(view.floor), held.low or 0.0))
            return held
        case _:
            return _read(view)


def _products(view: ProductView) -> DenseView | HalfView:
    """As one matrix product in tiles."""
    from influence_store.selection.engine.matrix import product_half, product_matrix

    scale = scale_of(view.largest)
    # A float32 product of two vectors is off by at most width · eps of their lengths: those of
    # single pairs, and the one of a source with the sum of all targets.
    whole = view.targets.sum(axis=0, dtype=np.float64)
    n_targets, width = view.targets.shape
    slack = 2.0 * n_targets * scale * (width + 8) * np.finfo(np.float32).eps
    # Not by BLAS: its threads would wait busily for more, on the cores that the tiles need now.
    sums = np.einsum("ij,j->i", view.sources, whole.astype(np.float32))
    totals = sums.astype(np.float64) + slack
    if _is_own(view):
        return product_half(view.sources, scale, totals)
    by_source, low = product_matrix(view.targets, view.sources, scale)
    return DenseView(by_source, scale=scale, low=low, totals=totals)


def _read(view: PairwiseView) -> DenseView:
    """Tile by tile, as any view."""
    n_targets, n_sources = view.shape
    by_source = np.empty((n_sources, n_targets), np.float32)
    with progress("kernel", n_sources, "sources") as advance:
        for sources, values in tiles(view, np.arange(n_sources)):
            check_finite(sources, values)
            by_source[sources[0] : sources[-1] + 1] = values
            advance(len(sources))
    low, high = float(by_source.min()), float(by_source.max())
    scale = scale_of(max(-low, high))
    to_grid(by_source, scale)
    return DenseView(by_source, scale=scale, low=float(by_source.min()))


class SelfCovered:
    """A square view whose diagonal is the row's best other value.

    A sample shown to itself is the answer, not an example: its own pair cannot be compared with
    others. With the best other value there, a chosen sample counts as covered as well as any
    other sample could have covered it. A single sample has no other and gets 0.
    """

    def __init__(self, view: PairwiseView) -> None:
        """ValueError if the view is not square."""
        if view.shape[0] != view.shape[1]:
            raise ValueError(
                f"only a square kernel has a diagonal; found {view.shape[0]} targets × "
                f"{view.shape[1]} sources"
            )
        self.view = view

    @cached_property
    def best_other(self) -> Floats:
        """The diagonal, (n,); the first look takes one pass over the view."""
        return _best_off_diagonal(self.view)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.view.shape

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols, own pairs replaced."""
        values = self.view.block(rows, cols).copy(order="K")
        if is_everything(rows, self.shape[0]):
            values[cols, np.arange(len(cols))] = self.best_other[cols]
        else:
            row, col = np.nonzero(rows[:, None] == cols[None, :])
            values[row, col] = self.best_other[rows[row]]
        return values


class RowsView:
    """Some targets of a view: those in `rows`, positions of the view, in that order."""

    def __init__(self, view: PairwiseView, rows: Ids) -> None:
        self.view, self.rows = view, rows

    @property
    def shape(self) -> tuple[int, int]:
        """(len(rows), n_sources)."""
        return len(self.rows), self.view.shape[1]

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols."""
        return self.view.block(self.rows[rows], cols)


class Clipped:
    """A view in which every value below `floor` is `floor` (DELIFT's s = max(utility, 0))."""

    def __init__(self, view: PairwiseView, floor: float = 0.0) -> None:
        self.view, self.floor = view, np.float32(floor)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        return self.view.shape

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols, none below the floor."""
        return np.maximum(self.view.block(rows, cols), self.floor)


def _unit_rows(vectors: Floats, side: str) -> Floats:
    """`vectors` as float32 (n, d); ValueError naming the first row that is not of length 1."""
    unit = np.asarray(vectors, np.float32)
    if unit.ndim != 2:
        raise ValueError(f"expected {side} vectors (n, d), found shape {unit.shape}")
    lengths = lengths_of(unit)
    wrong = ~(np.abs(lengths - 1.0) < 1e-3)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{int(wrong.sum())} {side} vectors are not of length 1, the first at position "
            f"{first} with {lengths[first]:.4g}; expected normalised embeddings"
        )
    return unit


def _best_off_diagonal(view: PairwiseView) -> Floats:
    """max_{j ≠ i} S[i, j] for every i, (n,); 0 where there is no other."""
    check_filled(view)
    n = view.shape[0]
    if n == 1:
        return np.zeros(1, np.float32)
    best = np.full(n, -np.inf, np.float32)
    with progress("best other", n, "sources") as advance:
        for sources, values in tiles(view, np.arange(n)):
            masked = values.copy()
            masked[np.arange(len(sources)), sources] = -np.inf
            np.maximum(best, masked.max(axis=0), out=best)
            advance(len(sources))
    return best
