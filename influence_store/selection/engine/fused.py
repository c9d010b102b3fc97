"""Lazy greedy for coverage functions, compiled: the picks of `LazyGreedy`, much sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.selection.grid import levels_on_grid, scale_of
from influence_store.selection.limits import limits_of
from influence_store.selection.views import DenseView

if TYPE_CHECKING:
    from influence_store.protocols import Chosen, SetFunction
    from influence_store.selection.engine.columns import Columns
    from influence_store.selection.functions.coverage import Coverage
    from influence_store.selection.limits import Limits


class FusedGreedy:
    """Greedy by gain, or by gain per cost, for functions that say they are a `Coverage`.

    A kernel in memory is read by as many threads as there are cores; any other is computed tile by
    tile, several times over. Values off the grid of the kernel are rounded to it.
    """

    def __init__(self, *, per_cost: bool = False) -> None:
        self.per_cost = per_cost

    def maximize(self, function: SetFunction[Any], limits: Limits | int) -> Chosen:
        """UsageError if f is no coverage function, or for limits that cannot be kept."""
        from influence_store.selection.engine.greedy import maximize

        coverage: Coverage | None = getattr(function, "coverage", None)
        if coverage is None:
            raise UsageError(
                f"{type(function).__name__} is no coverage function", hint="use LazyGreedy"
            )
        limits = limits_of(limits)
        limits.check(function.n)
        columns, scale = _columns(coverage)
        n_targets = coverage.view.shape[0]
        cap = np.full(n_targets, np.inf) if coverage.cap is None else coverage.cap
        bonus = np.zeros(function.n) if coverage.bonus is None else coverage.bonus
        return maximize(
            columns,
            levels_on_grid(coverage.level, scale),
            limits,
            cap=levels_on_grid(cap, scale),
            bonus=np.asarray(bonus, np.float64),
            per_cost=self.per_cost,
        )


def _columns(coverage: Coverage) -> tuple[Columns, float]:
    """Where the engine reads the kernel, and the scale of its grid."""
    from influence_store.selection.engine.columns import (
        DenseColumns,
        HalfColumns,
        TiledColumns,
        largest_of,
    )
    from influence_store.selection.engine.half import HalfView
    from influence_store.selection.engine.screen import ScreenedView
    from influence_store.selection.engine.screened_columns import ScreenedColumns

    view = coverage.view
    if isinstance(view, ScreenedView) and coverage.cap is None:
        return ScreenedColumns(view), view.scale
    if isinstance(view, HalfView):
        return HalfColumns(view), view.scale
    if isinstance(view, DenseView):
        if view.scale is None:
            view = DenseView.of(_Raw(view), 4 * view.shape[0] * view.shape[1])
            assert isinstance(view, DenseView)
        assert view.scale is not None
        return DenseColumns(view.by_source, view.totals, view.low), view.scale
    scale = scale_of(largest_of(view))
    return TiledColumns(view, scale), scale


class _Raw:
    """A dense view that does not say it is one, so that it is put on the grid as a copy."""

    def __init__(self, view: DenseView) -> None:
        self.shape, self.block = view.shape, view.block
