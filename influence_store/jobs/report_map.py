"""Where do the samples lie? The two directions in which their stored embeddings differ most.

Principal components of the points that are shown. They are linear, so distances on the map are
never larger than in the embedding; near on the map need not be near in meaning, and the share of
variance that the two directions hold says how far to trust it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from influence_store.jobs.embed import embedder_of
from influence_store.report.facts import GRID, Map, MapSource
from influence_store.report.values import Missing

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.jobs.report_influence import Column
    from influence_store.jobs.report_rows import Rows
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.protocols import Doubles, Flags, Floats, Ids
    from influence_store.store.store import Store

_TENTHS = 10


def embedding_map(
    store: Store,
    rows: Rows,
    column: Column | None,
    selection: StoredSelection | None,
    most: int,
    seed: int,
) -> Map | Missing:
    """At most `most` points, all picks among them where they fit; the others drawn by `seed`."""
    embedder = embedder_of(store, rows.version)
    if embedder is None:
        return Missing(
            "No embedder has a vector for every row of this version.",
            f"influence-store embed {rows.version} --embedder EMBEDDER",
        )
    selected = np.zeros(len(rows.sids), np.bool_)
    if selection is not None:
        selected = np.isin(rows.sids, selection.sids)
    shown = _shown(selected, most, seed)
    places, explained = components(store.vectors(embedder, rows.sids[shown]))
    steps = _steps(places)
    values = np.full(len(rows.sids), np.nan)
    if column is not None:
        values[column.places] = column.values
    tenth, borders = _tenths(values)
    return Map(
        embedder=embedder.name,
        column="" if column is None else column.name,
        rows=len(rows.sids),
        points=len(shown),
        seed=seed,
        explained=explained,
        borders=borders,
        sources=_sources(rows, shown, steps, values, selected),
        x=tuple(steps[:, 0].tolist()),
        y=tuple(steps[:, 1].tolist()),
        tenth=tuple(tenth[shown].tolist()),
        selected=tuple(selected[shown].astype(int).tolist()),
    )


def components(vectors: Floats) -> tuple[Doubles, tuple[float, float]]:
    """(n, 2) places along the first two principal components of (n, dim), and their shares.

    The share of all variance is 0 where there is none. Of a component's two signs the one that
    makes its largest entry positive is taken; one thread, so that sums never depend on cores.
    """
    with threadpool_limits(1):
        centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
        size, axes = np.linalg.eigh(centred.T @ centred)
        first = axes[:, ::-1][:, :2]
        if first.shape[1] < 2:
            first = np.column_stack([first, np.zeros(len(first))])
        strongest = np.abs(first).argmax(axis=0)
        first = first * np.where(first[strongest, [0, 1]] < 0, -1.0, 1.0)
        places: Doubles = centred @ first
    total = float(size.clip(0).sum())
    spread = (places**2).sum(axis=0)
    shares = (spread / total if total > 0 else np.zeros(2)).tolist()
    return places, (shares[0], shares[1])


def _shown(selected: Flags, most: int, seed: int) -> Ids:
    """Ascending positions: all, or all picks and a random part of the others."""
    n = len(selected)
    if n <= most:
        return np.arange(n)
    # Picks come first in a random order of each kind.
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(~selected[order], kind="stable")]
    return np.sort(order[:most])


def _steps(places: Doubles) -> npt.NDArray[np.int64]:
    """On a grid of GRID steps along the longer side; both axes in the same scale."""
    if not len(places):
        return np.zeros((0, 2), np.int64)
    low = places.min(axis=0)
    side = float((places.max(axis=0) - low).max()) or 1.0
    steps: npt.NDArray[np.int64] = ((places - low) / side * GRID).round().astype(np.int64)
    return steps


def _tenths(values: Doubles) -> tuple[npt.NDArray[np.int64], tuple[float, ...]]:
    """The tenth of each value, 1 to 10, by the borders between them; 0 where it is NaN."""
    there = ~np.isnan(values)
    if not there.any():
        return np.zeros(len(values), np.int64), ()
    borders = np.percentile(values[there], np.arange(_TENTHS, 100, _TENTHS))
    tenth = np.where(there, 1 + np.searchsorted(borders, values, side="left"), 0)
    return tenth.astype(np.int64), tuple(borders.tolist())


def _sources(
    rows: Rows, shown: Ids, steps: npt.NDArray[np.int64], values: Doubles, selected: Flags
) -> tuple[MapSource, ...]:
    told = []
    for name, of_source in rows.groups():
        inside = of_source[shown]
        if not inside.any():
            continue
        known = values[shown[inside]]
        known = known[~np.isnan(known)]
        x, y = np.median(steps[inside], axis=0).tolist()
        told.append(
            MapSource(
                source=name,
                points=int(inside.sum()),
                selected=int(selected[shown[inside]].sum()),
                median=float(np.median(known)) if len(known) else None,
                x=x,
                y=y,
            )
        )
    return tuple(told)
