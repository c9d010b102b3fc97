"""Kronfluence: `pairwise_scores.safetensors` and `self_scores.safetensors` of a scores folder.

Pairwise tensors are (n_query, n_train), that is target × source as ours (`score/pairwise.py`,
`score/dot_product.py` of 1.0.1); self scores are (n_train,). The tensor is called `all_modules`,
or there is one per module, whose sum is the same number: the sum is what is kept. Higher = helpful
where both the measurement and the training loss are losses, which the manifest must say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible, InputError, NotFound
from influence_store.influence.imports.arrays import safe_tensors
from influence_store.influence.imports.matrices import read_points, read_target_by_source

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from influence_store.influence.imports.identity import Manifest
    from influence_store.influence.imports.scores import Read

_ALL = "all_modules"
_FILES = {"pairwise": "pairwise_scores.safetensors", "pointwise": "self_scores.safetensors"}


def read(path: Path, manifest: Manifest) -> Read:
    """Pairs from pairwise scores, points from self scores; `path` is the file or its folder."""
    if manifest.kind == "bilinear":
        raise Incompatible(
            "Kronfluence stores scores, no vectors", hint='"kind": "pairwise" or "pointwise"'
        )
    file = path / _FILES[manifest.kind] if path.is_dir() else path
    if not file.is_file():
        raise NotFound(
            f"there is no {file}",
            hint="aggregate partitions first: Analyzer.aggregate_pairwise_scores",
        )
    total = _sum_of_modules(file)
    if total.ndim == 3:
        raise Incompatible(
            f"{file} holds one score per token, shape {total.shape}",
            hint="compute it with compute_per_token_scores=False",
        )
    reader = read_target_by_source if manifest.kind == "pairwise" else read_points
    return reader(file, total, manifest)


def _sum_of_modules(file: Path) -> npt.NDArray[Any]:
    tensors = safe_tensors(file)
    if not tensors:
        raise InputError(f"{file} holds no tensor")
    if _ALL in tensors:
        return tensors[_ALL]
    shapes = {tensor.shape for tensor in tensors.values()}
    if len(shapes) > 1:
        raise InputError(
            f"{file}: tensors of different shapes {sorted(shapes)[:3]}, expected one per module",
            hint="name a file of scores, not one of factors",
        )
    return np.asarray(np.sum(np.stack([t.astype(np.float64) for t in tensors.values()]), axis=0))
