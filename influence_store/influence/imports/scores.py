"""What do scores look like once they are ours? Values by sample id, NaN where there is none.

Whatever was left out of a file is counted under its reason; whatever is infinite is not a value
and becomes NaN, counted too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import ClassVar

    from influence_store.protocols import Doubles, Floats, Ids, InfluenceSpec, Kind

    Dropped = dict[str, int]


@dataclass(frozen=True)
class Points:
    """One row per sample: values[output] is (n,)."""

    ids: tuple[bytes, ...]
    values: Mapping[str, Doubles]
    kind: ClassVar[Kind] = "pointwise"

    @property
    def axes(self) -> tuple[tuple[bytes, ...], ...]:
        """The ids that the rows belong to."""
        return (self.ids,)

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the columns."""
        return tuple(self.values)

    def __neg__(self) -> Points:
        return replace(self, values={name: -column for name, column in self.values.items()})


@dataclass(frozen=True)
class Pairs:
    """Values of P pairs, sorted by source, then target; values[output] is (P,).

    Source j owns the pairs `starts[j]:starts[j + 1]`; `targets` (P,) are positions in
    `target_ids`. A full matrix is P = n_targets · n_sources.
    """

    target_ids: tuple[bytes, ...]
    source_ids: tuple[bytes, ...]
    starts: Ids
    targets: Ids
    values: Mapping[str, Floats]
    kind: ClassVar[Kind] = "pairwise"

    @property
    def axes(self) -> tuple[tuple[bytes, ...], ...]:
        """Ids of the targets, ids of the sources."""
        return (self.target_ids, self.source_ids)

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the columns."""
        return tuple(self.values)

    def column(self, source: int) -> tuple[Ids, dict[str, Floats]]:
        """Positions of one source's targets and its values for them."""
        own = slice(self.starts[source], self.starts[source + 1])
        return self.targets[own], {name: column[own] for name, column in self.values.items()}

    def matrix(self, output: str) -> Floats:
        """S (n_targets, n_sources), NaN where a pair is not known: for small things."""
        whole = np.full((len(self.target_ids), len(self.source_ids)), np.nan, np.float32)
        sources = np.repeat(np.arange(len(self.source_ids)), np.diff(self.starts))
        whole[self.targets, sources] = self.values[output]
        return whole

    def __neg__(self) -> Pairs:
        return replace(self, values={name: -column for name, column in self.values.items()})


@dataclass(frozen=True)
class Vectors:
    """S = target_vectors @ source_vectors.T, (n_targets, dim) and (n_sources, dim)."""

    target_ids: tuple[bytes, ...]
    source_ids: tuple[bytes, ...]
    target_vectors: Floats
    source_vectors: Floats
    symmetric: bool = False
    kind: ClassVar[Kind] = "bilinear"

    @property
    def axes(self) -> tuple[tuple[bytes, ...], ...]:
        """Ids of the targets, ids of the sources."""
        return (self.target_ids, self.source_ids)

    @property
    def outputs(self) -> Sequence[str]:
        """None besides the method's own name."""
        return ()

    def __neg__(self) -> Vectors:
        return replace(self, target_vectors=-self.target_vectors, symmetric=False)


@dataclass(frozen=True)
class Read:
    """What a reader made of `files`; `dropped` counts by reason what it left out."""

    table: Points | Pairs | Vectors
    files: Sequence[Path]
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """Values with identity. Equal `facts` are one producer; they hold the sha256 of every file."""

    spec: InfluenceSpec
    facts: Mapping[str, Any]
    table: Points | Pairs | Vectors
    dropped: Mapping[str, int]


def points(ids: tuple[bytes, ...], columns: Mapping[str, Any]) -> tuple[Points, Dropped]:
    """One row per distinct sample, the first where it is repeated; columns[output] is (n,)."""
    values = {name: np.array(column, np.float64) for name, column in columns.items()}
    dropped: Dropped = {}
    _drop_infinite(values.values(), dropped)
    first, again = _firsts(ids)
    for position, kept in again:
        same = all(
            np.array_equal(column[position], column[kept], equal_nan=True)
            for column in values.values()
        )
        reason = "sample repeated" if same else "sample repeated with another value"
        dropped[reason] = dropped.get(reason, 0) + 1
    kept_values = {name: column[first] for name, column in values.items()}
    return Points(tuple(ids[k] for k in first), kept_values), dropped


def pairs_from_matrix(
    target_ids: tuple[bytes, ...], source_ids: tuple[bytes, ...], matrices: Mapping[str, Any]
) -> tuple[Pairs, Dropped]:
    """All pairs of matrices[output] (n_targets, n_sources); repeated rows and columns once."""
    rows, more_rows = _firsts(target_ids)
    cols, more_cols = _firsts(source_ids)
    dropped: Dropped = {}
    if more_rows:
        dropped["target repeated"] = len(more_rows)
    if more_cols:
        dropped["source repeated"] = len(more_cols)
    values = {
        name: _narrowed(matrix)[np.ix_(rows, cols)].T.ravel() for name, matrix in matrices.items()
    }
    _drop_infinite(values.values(), dropped)
    made = Pairs(
        tuple(target_ids[k] for k in rows),
        tuple(source_ids[k] for k in cols),
        np.arange(len(cols) + 1, dtype=np.int64) * len(rows),
        np.tile(np.arange(len(rows), dtype=np.int64), len(cols)),
        values,
    )
    return made, dropped


def pairs_from_rows(
    targets: tuple[bytes, ...], sources: tuple[bytes, ...], columns: Mapping[str, Any]
) -> tuple[Pairs, Dropped]:
    """Pair k is (targets[k], sources[k]) with columns[output][k]; a repeated pair counts once."""
    target_ids, rows = _numbered(targets)
    source_ids, cols = _numbered(sources)
    values = {name: _narrowed(column) for name, column in columns.items()}
    dropped: Dropped = {}
    _drop_infinite(values.values(), dropped)
    # Stable, so the first of a repeated pair is the one that stays.
    order = np.lexsort((rows, cols))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(rows[order]) != 0) | (np.diff(cols[order]) != 0)
    if not new.all():
        dropped["pair repeated"] = int((~new).sum())
    order = order[new]
    starts = np.searchsorted(cols[order], np.arange(len(source_ids) + 1)).astype(np.int64)
    ordered = {name: column[order] for name, column in values.items()}
    return Pairs(target_ids, source_ids, starts, rows[order], ordered), dropped


def vectors(
    target_ids: tuple[bytes, ...],
    source_ids: tuple[bytes, ...],
    target_vectors: Any,
    source_vectors: Any,
) -> tuple[Vectors, Dropped]:
    """Both sides as float32 rows, the first where a sample is repeated; broken rows are NaN."""
    dropped: Dropped = {}
    target_ids, targets = _side(target_ids, target_vectors, "target", dropped)
    source_ids, sources = _side(source_ids, source_vectors, "source", dropped)
    return Vectors(target_ids, source_ids, targets, sources), dropped


def _side(
    ids: tuple[bytes, ...], rows: Any, side: str, dropped: Dropped
) -> tuple[tuple[bytes, ...], Floats]:
    first, again = _firsts(ids)
    if again:
        dropped[f"{side} repeated"] = len(again)
    kept = _narrowed(rows)[first]
    if kept.ndim != 2 or not kept.shape[1]:
        raise InputError(f"the {side} vectors have shape {kept.shape}, expected (rows, dimensions)")
    infinite = np.isinf(kept).any(axis=1)
    missing = np.isnan(kept).any(axis=1) & ~infinite
    for reason, broken in (("an infinite", infinite), ("a missing", missing)):
        if broken.any():
            dropped[f"{side} vector with {reason} value"] = int(broken.sum())
    kept[infinite | missing] = np.nan
    return tuple(ids[k] for k in first), kept


def _narrowed(values: Any) -> Floats:
    """As float32; what is too large for it becomes infinite, which is no value."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)


def _firsts(ids: Sequence[bytes]) -> tuple[list[int], list[tuple[int, int]]]:
    """Positions of first occurrences, and (position, first) of the others."""
    seen: dict[bytes, int] = {}
    again = []
    for position, one in enumerate(ids):
        first = seen.setdefault(one, position)
        if first != position:
            again.append((position, first))
    return list(seen.values()), again


def _numbered(ids: Sequence[bytes]) -> tuple[tuple[bytes, ...], Ids]:
    """Distinct ids in order of appearance, and the number of each entry."""
    numbers: dict[bytes, int] = {}
    where = np.array([numbers.setdefault(one, len(numbers)) for one in ids], np.int64)
    return tuple(numbers), where


def _drop_infinite(columns: Any, dropped: Dropped) -> None:
    for column in columns:
        infinite = np.isinf(column)
        if infinite.any():
            column[infinite] = np.nan
            dropped["infinite value"] = dropped.get("infinite value", 0) + int(infinite.sum())
