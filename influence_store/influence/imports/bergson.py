"""bergson: a scores folder (`info.json`, `scores.bin`), or gradient stores.

As bergson 2.5 writes them (`score/score_writer.py`, `data.py`): `scores.bin` is an array over the
*index* (training) rows of structs (score_q, written_q) with one pair per query, so it is source ×
target and is transposed. A cell that was never written is NaN and counted. `candidates.npy`, where
present, says which training rows were scored. `config.yaml` tells the direction, and a manifest
that says otherwise is refused: influence functions have higher = proponent, unrolled
differentiation (MAGIC) lower.

Gradient stores (`gradients.bin`, rows × modules laid out in the order of `grad_sizes`) become
vectors: `source_vectors` and `target_vectors` name one folder each, S = their dot product.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from influence_store.errors import Incompatible, InputError, NotFound
from influence_store.influence.imports.arrays import numpy_array, stored_dtype, widened
from influence_store.influence.imports.matrices import read_points
from influence_store.influence.imports.scores import Read, pairs_from_matrix, vectors

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from influence_store.influence.imports.identity import Manifest

_DIRECTION = re.compile(r"^\s*-?\s*higher_is_better:\s*(true|false)\s*$", re.MULTILINE)


def read(path: Path, manifest: Manifest) -> Read:
    """Pairs, or points where there is one query; vectors for gradient stores."""
    if manifest.kind == "bilinear":
        return _stores(manifest)
    info = _info(path)
    _check_direction(path, manifest)
    scores, missing = _scores(path, info)
    dropped = {"never written": missing} if missing else {}
    file = path / "scores.bin"
    if manifest.kind == "pointwise":
        if scores.shape[1] != 1:
            raise Incompatible(
                f"{file} holds {scores.shape[1]} queries, expected 1 for pointwise scores",
                hint='write "kind": "pairwise", with source_ids and target_ids',
            )
        made = read_points(file, scores[:, 0], manifest)
        return Read(made.table, _files(path), {**dropped, **made.dropped})
    found = f"{file} holds {scores.shape[0]:,} sources × {scores.shape[1]:,} targets"
    targets = manifest.axis("target_ids", scores.shape[1], found)
    sources = _sources(path, manifest, len(scores), found)
    table, more = pairs_from_matrix(targets, sources, {manifest.method: scores.T})
    return Read(table, _files(path), {**dropped, **more})


def _scores(path: Path, info: dict[str, Any]) -> tuple[npt.NDArray[Any], int]:
    """(n_rows, n_scores), NaN where never written, and how many of these."""
    if info.get("attribute_tokens"):
        raise Incompatible(
            f"{path} holds one score per token", hint="score again without attribute_tokens"
        )
    try:
        n_rows, n_scores = int(info.get("num_rows", info["num_items"])), int(info["num_scores"])
        layout = info["dtype"]
        at = dict(zip(layout["names"], layout["offsets"], strict=True))
        types = dict(zip(layout["names"], layout["formats"], strict=True))
        itemsize = int(layout["itemsize"])
        names = [(f"score_{q}", f"written_{q}") for q in range(n_scores)]
        stored = [types[score] for score, _ in names]
        fields = np.dtype(
            {
                "names": [name for pair in names for name in pair],
                "formats": [f for t in stored for f in (stored_dtype(t, path), np.dtype("?"))],
                "offsets": [int(at[name]) for pair in names for name in pair],
                "itemsize": itemsize,
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path / 'info.json'} does not describe scores as bergson writes them: {error!r}",
            hint="name the folder that bergson score wrote",
        ) from error
    rows = np.fromfile(_sized(path / "scores.bin", n_rows * itemsize), fields)
    scores = np.empty((n_rows, n_scores), np.float32)
    missing = 0
    for q, (score, written) in enumerate(names):
        scores[:, q] = np.where(rows[written], widened(rows[score], stored[q]), np.nan)
        missing += int((~rows[written]).sum())
    return scores, missing


def _sources(path: Path, manifest: Manifest, n_rows: int, found: str) -> tuple[bytes, ...]:
    candidates = path / "candidates.npy"
    if not candidates.is_file():
        return manifest.axis("source_ids", n_rows, found)
    rows, ids = numpy_array(candidates), manifest.ids("source_ids")
    if rows.shape != (n_rows,) or (n_rows and not 0 <= rows.min() <= rows.max() < len(ids)):
        raise InputError(
            f"{found}; {candidates} names rows of a larger set than the {len(ids):,} rows of "
            f'"source_ids" in {manifest.name}',
            hint="name all training rows, of which bergson scored some",
        )
    return tuple(ids[k] for k in rows.tolist())


def _stores(manifest: Manifest) -> Read:
    manifest.require("source_vectors", "target_vectors")
    rows, ids, files = {}, {}, []
    for side in ("target", "source"):
        folders = manifest.names(f"{side}_vectors") or []
        if len(folders) != 1:
            raise InputError(
                f'{manifest.name}: "{side}_vectors" names {len(folders)} folders, expected one'
            )
        folder = manifest.path(folders[0])
        rows[side] = _gradients(folder)
        found = f"{folder} holds {len(rows[side]):,} gradients"
        ids[side] = manifest.axis(f"{side}_ids", len(rows[side]), found)
        files += [folder / "gradients.bin"]
    if rows["target"].shape[1] != rows["source"].shape[1]:
        raise InputError(
            f"target gradients have {rows['target'].shape[1]} dimensions, "
            f"source gradients {rows['source'].shape[1]}",
            hint="build both with one projection_dim and the same modules",
        )
    table, dropped = vectors(ids["target"], ids["source"], rows["target"], rows["source"])
    return Read(table, files, dropped)


def _gradients(folder: Path) -> npt.NDArray[Any]:
    info = _info(folder)
    if info.get("attribute_tokens"):
        raise Incompatible(f"{folder} holds one gradient per token")
    try:
        stored = str(info["base_dtype"])
        n, width = int(info["num_grads"]), sum(map(int, info["grad_sizes"].values()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / 'info.json'} does not describe gradients: {error!r}",
            hint="name a folder that bergson build wrote",
        ) from error
    dtype = stored_dtype(stored, folder)
    flat = np.fromfile(_sized(folder / "gradients.bin", n * width * dtype.itemsize), dtype)
    return widened(flat, stored).reshape(n, width)


def _info(path: Path) -> dict[str, Any]:
    file = path / "info.json"
    if not file.is_file():
        raise NotFound(f"there is no {file}", hint="name a folder that bergson wrote")
    try:
        info = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    if not isinstance(info, dict):
        raise InputError(f"{file} holds no JSON object")
    return info


def _sized(file: Path, expected: int) -> Path:
    found = file.stat().st_size if file.is_file() else -1
    if found != expected:
        raise InputError(
            f"{file} is {'absent' if found < 0 else f'{found:,} bytes'}, expected {expected:,}",
            hint="copy the whole folder again",
        )
    return file


def _check_direction(path: Path, manifest: Manifest) -> None:
    """`config.yaml` is only searched for one line, so no YAML has to be understood."""
    config = path / "config.yaml"
    told = set(_DIRECTION.findall(config.read_text("utf-8"))) if config.is_file() else set()
    if len(told) == 1 and told != {"false" if manifest.harmful else "true"}:
        right = "helpful" if told == {"true"} else "harmful"
        raise InputError(
            f"{config} says higher_is_better: {told.pop()}, {manifest.name} says "
            f'"higher_means": "{manifest.fields["higher_means"]}"',
            hint=f'write "higher_means": "{right}"; what is harmful is negated on reading',
        )


def _files(path: Path) -> list[Path]:
    return [path / name for name in ("scores.bin", "candidates.npy") if (path / name).is_file()]
