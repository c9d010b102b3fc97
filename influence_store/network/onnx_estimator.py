"""How is an exported estimator run? Through ONNX Runtime, on the device it really got."""

from __future__ import annotations

import ctypes
import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from influence_store.errors import Incompatible
from influence_store.protocols import Floats
from influence_store.schema.estimator import ONNX_FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.network.features import Features

Device = Literal["auto", "cpu", "gpu"]

BATCH_ROWS = 256
TILE_TARGETS, TILE_SOURCES = 64, 256
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_log = logging.getLogger(__name__)


class OnnxEstimator:
    """The estimator in one ONNX file; `influence(target_vectors, source_vectors)` is its head.

    Every run has the same shape (short batches are filled up), so a sample's vector does not
    depend on its neighbours. `metadata` holds what the exporter wrote; `provider` where it runs.
    """

    def __init__(self, content: bytes, *, device: Device = "auto") -> None:
        self._session, self.provider = _session(content, device)
        written = self._session.get_modelmeta().custom_metadata_map
        if written.get("format") != f'"{ONNX_FORMAT}"':
            raise Incompatible(
                f"the ONNX file has format {written.get('format', 'none')}, "
                f"expected {ONNX_FORMAT!r}",
                hint="train it again: influence-store train …",
            )
        self.metadata: dict[str, Any] = {key: orjson.loads(text) for key, text in written.items()}
        self.features = tuple(self.metadata["features"])
        self.dims = tuple(self.metadata["dims"])
        self.width: int = self.metadata["width"]

    def check(self, features: Features, fingerprints: Mapping[str, str]) -> None:
        """Incompatible unless blocks, widths and producers are those it was trained on."""
        given = dict(zip(features.names, features.dims, strict=True))
        for name, dim in zip(self.features, self.dims, strict=True):
            if given.get(name) != dim:
                raise Incompatible(
                    f"{self._name()} reads {name!r} with {dim} columns, found "
                    f"{given.get(name, 'none')}",
                    hint="embed with the embedder it was trained on, or train again",
                )
        for name, trained_on in self.metadata["fingerprints"].items():
            if fingerprints.get(name) != trained_on:
                raise Incompatible(
                    f"{self._name()} was trained on {name!r} with fingerprint {trained_on}, found "
                    f"{fingerprints.get(name, 'none')}",
                    hint="embed with the embedder it was trained on, or train again: "
                    "influence-store train …",
                )

    def target_vectors(self, features: Features) -> Floats:
        """(n, width): what a target brings to each of its pairs."""
        return self._vectors("target", features)

    def source_vectors(self, features: Features) -> Floats:
        """(n, width): what a source brings to each of its pairs."""
        return self._vectors("source", features)

    def influence(self, target_vectors: Floats, source_vectors: Floats) -> Floats:
        """S (r, c) from vectors (r, width), (c, width); higher as in the labels it learned."""
        self._check_width(target_vectors, source_vectors)
        out = np.empty((len(target_vectors), len(source_vectors)), np.float32)
        for row in range(0, len(target_vectors), TILE_TARGETS):
            targets = target_vectors[row : row + TILE_TARGETS]
            for column in range(0, len(source_vectors), TILE_SOURCES):
                sources = source_vectors[column : column + TILE_SOURCES]
                tile = self._run(
                    "influence",
                    target_vectors=_filled(targets, TILE_TARGETS),
                    source_vectors=_filled(sources, TILE_SOURCES),
                )
                cells = out[row : row + TILE_TARGETS, column : column + TILE_SOURCES]
                cells[:] = tile[: len(targets), : len(sources)]
        return out

    __call__ = influence

    def panel_influence(self, source_vectors: Floats) -> Floats:
        """Mean of S over the reference panel inside the file, (n,); Incompatible without one."""
        if not self.metadata["panel_ids"]:
            raise Incompatible(f"{self._name()} has no reference panel")
        self._check_width(source_vectors)
        means = [
            self._run(
                "influence",
                source_vectors=_filled(source_vectors[k : k + TILE_SOURCES], TILE_SOURCES),
            ).mean(axis=0, dtype=np.float64)[: len(source_vectors) - k]
            for k in range(0, len(source_vectors), TILE_SOURCES)
        ]
        return np.concatenate([np.zeros(0), *means]).astype(np.float32)

    def _vectors(self, role: str, features: Features) -> Floats:
        x = features.select(self.features)
        if x.dims != self.dims:
            raise Incompatible(
                f"{self._name()} reads {dict(zip(self.features, self.dims, strict=True))} columns, "
                f"found {dict(zip(x.names, x.dims, strict=True))}"
            )
        out = np.empty((len(x), self.width), np.float32)
        for k in range(0, len(x), BATCH_ROWS):
            rows = x.values[k : k + BATCH_ROWS]
            fed = {f"{role}_features": _filled(rows, BATCH_ROWS)}
            out[k : k + BATCH_ROWS] = self._run(f"{role}_vector", **fed)[: len(rows)]
        return out

    def _run(self, output: str, **inputs: Floats) -> Floats:
        result: Floats = self._session.run([output], inputs)[0]
        return result

    def _check_width(self, *vectors: Floats) -> None:
        for one in vectors:
            if one.ndim != 2 or one.shape[1] != self.width:
                raise Incompatible(
                    f"{self._name()} pairs vectors of width {self.width}, found shape {one.shape}"
                )

    def _name(self) -> str:
        return f"estimator {self.metadata['network']!r}"


def _session(content: bytes, device: Device) -> tuple[Any, str]:
    """A session and the provider it got; a GPU asked for and not got is told, or refused."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    wants_gpu = device == "gpu" or (device == "auto" and _driver_present())
    offered = CUDA in ort.get_available_providers()
    asked = [CUDA, CPU] if wants_gpu and offered else [CPU]
    session = ort.InferenceSession(content, options, providers=asked)
    got = session.get_providers()[0]
    if wants_gpu and got != CUDA:
        story = f"a GPU was asked for; ONNX Runtime gives {got} (asked: {', '.join(asked)})"
        if device == "gpu":
            raise Incompatible(
                story, hint="install onnxruntime-gpu with its CUDA libraries, or use --device cpu"
            )
        _log.warning("%s; the run continues on the CPU", story)
    return session, got


def _driver_present() -> bool:
    """Whether this machine has an NVIDIA driver at all."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _filled(rows: Floats, size: int) -> Floats:
    """`rows` and as many zero rows as make it `size`, contiguous float32."""
    out = np.zeros((size, rows.shape[1]), np.float32)
    out[: len(rows)] = rows
    return out
