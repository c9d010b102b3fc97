"""Source × target arrays, as most attribution code has them: transposed, they are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.errors import InputError
from influence_store.influence.imports.scores import Read, pairs_from_matrix, points

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from influence_store.influence.imports.identity import Manifest


def read_source_by_target(path: Path, array: npt.NDArray[Any], manifest: Manifest) -> Read:
    """(n,) as one value per sample; (n_sources, n_targets) as pairs."""
    if manifest.kind == "pointwise":
        return read_points(path, array, manifest)
    if array.ndim != 2:
        raise _misfit(path, array, "(sources, targets)", manifest)
    return read_target_by_source(path, array.T, manifest)


def read_target_by_source(path: Path, array: npt.NDArray[Any], manifest: Manifest) -> Read:
    """(n_targets, n_sources), which is how we have it."""
    if array.ndim != 2:
        raise _misfit(path, array, "(targets, sources)", manifest)
    n_targets, n_sources = array.shape
    found = f"{path} holds {n_sources:,} sources × {n_targets:,} targets"
    targets = manifest.axis("target_ids", n_targets, found)
    sources = manifest.axis("source_ids", n_sources, found)
    table, dropped = pairs_from_matrix(targets, sources, {manifest.method: array})
    return Read(table, [path], dropped)


def read_points(path: Path, array: npt.NDArray[Any], manifest: Manifest) -> Read:
    """(n,) as one value per sample."""
    if array.ndim != 1:
        raise _misfit(path, array, "(samples,)", manifest)
    ids = manifest.axis("sample_ids", len(array), f"{path} holds {len(array):,} values")
    table, dropped = points(ids, {manifest.method: array})
    return Read(table, [path], dropped)


def _misfit(path: Path, array: npt.NDArray[Any], expected: str, manifest: Manifest) -> InputError:
    return InputError(
        f"{path} has shape {array.shape}, expected {expected} for {manifest.kind} scores",
        hint=f'check "kind" in {manifest.name}',
    )
