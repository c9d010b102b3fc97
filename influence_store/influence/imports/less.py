"""LESS (arXiv 2402.04333): influence scores, matrices and gradient stores in `.pt` files.

- pointwise: `<train>_influence_score.pt` (n_train,), what `data_selection/matching.py` saves: the
  mean over shots, then the maximum over subtasks. It speaks of one target set, which the manifest
  must name under `targets`.
- pairwise: the matrix before that reduction, (n_train, n_val): source × target, so transposed.
- bilinear: gradient stores `all_orig.pt` (n, d) of `collect_grad_reps.py`, one per checkpoint:
  `source_vectors` and `target_vectors` list them in the same order, `checkpoint_weights` weighs
  them. S = Σ_k w_k ⟨a_k, b_k⟩ with Σ w_k = 1, so rows are kept as the blocks √w_k · unit row.

Rows of `all_orig.pt` have length 1; those of `all_unormalized.pt` do not and are refused, since
without the cosine short responses win. A zero gradient has no direction: NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import InputError
from influence_store.influence.imports.arrays import torch_tensor
from influence_store.influence.imports.matrices import read_source_by_target
from influence_store.influence.imports.scores import Read, vectors

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.influence.imports.identity import Manifest
    from influence_store.protocols import Doubles, Floats

#: How far the length of a unit row stored in half precision may be from 1.
_UNIT = 0.01


def read(path: Path, manifest: Manifest) -> Read:
    """Scores, a matrix, or a folder of gradient stores, as the manifest's `kind` says."""
    if manifest.kind == "bilinear":
        return _stores(manifest)
    if manifest.kind == "pointwise":
        manifest.require("targets")
    return read_source_by_target(path, torch_tensor(path), manifest)


def _stores(manifest: Manifest) -> Read:
    manifest.require("source_vectors", "target_vectors", "checkpoint_weights")
    files = {
        side: [manifest.path(name) for name in manifest.names(f"{side}_vectors") or []]
        for side in ("target", "source")
    }
    weights = _weights(manifest, {side: len(paths) for side, paths in files.items()})
    blocks = {side: _blocks(paths, weights) for side, paths in files.items()}
    widths = {side: rows.shape[1] for side, rows in blocks.items()}
    if widths["target"] != widths["source"]:
        raise InputError(
            f"target vectors have {widths['target']} dimensions, source vectors {widths['source']}",
            hint="both sides must come from one projection",
        )
    ids = {
        side: manifest.axis(f"{side}_ids", len(rows), f"{files[side][0]} holds {len(rows):,} rows")
        for side, rows in blocks.items()
    }
    table, dropped = vectors(ids["target"], ids["source"], blocks["target"], blocks["source"])
    return Read(table, [*files["target"], *files["source"]], dropped)


def _weights(manifest: Manifest, n_files: dict[str, int]) -> Doubles:
    """Checkpoint weights (K,) that add up to 1."""
    given = manifest.fields["checkpoint_weights"]
    right = isinstance(given, list) and all(isinstance(w, int | float) and w > 0 for w in given)
    if not right or set(n_files.values()) != {len(given)} or not given:
        raise InputError(
            f'{manifest.name}: "checkpoint_weights" is {given!r:.80} for {n_files["source"]} '
            f"source and {n_files['target']} target files; expected one positive number for each",
            hint="the mean learning rate of each epoch, in the order of the files",
        )
    weights = np.array(given, np.float64)
    return np.asarray(weights / weights.sum())


def _blocks(paths: list[Path], weights: Doubles) -> Floats:
    """(n, K·d): block k is √w_k times the unit rows of checkpoint k."""
    stores = [_unit_rows(path) for path in paths]
    if len({store.shape[0] for store in stores}) > 1:
        counts = ", ".join(f"{path} {len(s):,}" for path, s in zip(paths, stores, strict=True))
        raise InputError(f"checkpoints hold different numbers of rows: {counts}")
    scaled = [np.sqrt(w) * store for w, store in zip(weights, stores, strict=True)]
    return np.concatenate(scaled, axis=1).astype(np.float32)


def _unit_rows(path: Path) -> Floats:
    rows = torch_tensor(path)
    if rows.ndim != 2:
        raise InputError(f"{path} has shape {rows.shape}, expected (rows, dimensions)")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    odd = np.flatnonzero((norms > 0) & (np.abs(norms - 1) > _UNIT))
    if len(odd):
        raise InputError(
            f"row {odd[0]} of {path} has length {norms[odd[0], 0]:.4g}, expected 1",
            hint="name all_orig.pt, which holds unit rows, not all_unormalized.pt",
        )
    # Half precision leaves lengths a little off 1; the cosine is meant.
    return np.asarray(rows / np.where(norms > 0, norms, np.nan), np.float32)
