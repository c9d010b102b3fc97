"""How is an exported estimator run? Through ONNX Runtime, on the device it really got."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.cores import share
from influence_store.errors import Incompatible
from influence_store.network.onnx_file import CPU, check_finite, check_inputs, open_onnx, run_onnx
from influence_store.protocols import Doubles, Floats
from influence_store.schema.estimator import ONNX_FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from influence_store.network.features import Features
    from influence_store.network.onnx_file import Device

#: Rows per run of a tower; 512 to 4,096 were no faster.
BATCH_ROWS = 256
#: Pairs per run of the head. At 64 × 256, calls cost a dot head of rank 32 half of its time;
#: larger tiles gain little more, and a caller with one target or one source pays for a whole one.
TILE_TARGETS, TILE_SOURCES = 128, 512
#: A power of two beside which the offset of a head vanishes (see `_relu_weight`).
PROBE = np.float32(2.0**40)


class OnnxEstimator:
    """The estimator in one ONNX file; `influence(target_vectors, source_vectors)` is its head.

    Every run has the same shape (short batches are filled up), so a sample's vector does not
    depend on its neighbours. A relu head on the CPU runs as a fused loop instead (fused_head),
    which promises the same. `metadata` holds what the exporter wrote; `provider` where it runs.
    """

    def __init__(self, content: bytes, *, device: Device = "auto") -> None:
        self._session, self.provider, self.metadata = open_onnx(content, device, ONNX_FORMAT)
        self.features = tuple(self.metadata["features"])
        self.dims = tuple(self.metadata["dims"])
        self.width: int = self.metadata["width"]

    def check(self, features: Features, fingerprints: Mapping[str, str]) -> None:
        """Incompatible unless blocks, widths and producers are those it was trained on."""
        check_inputs(self.metadata, features, fingerprints)

    def target_vectors(self, features: Features) -> Floats:
        """(n, width): what a target brings to each pair; Incompatible if the graph fails."""
        return self._vectors("target", features)

    def source_vectors(self, features: Features) -> Floats:
        """(n, width): what a source brings to each pair; Incompatible if the graph fails."""
        return self._vectors("source", features)

    def influence(self, target_vectors: Floats, source_vectors: Floats) -> Floats:
        """S (r, c) from vectors (r, width), (c, width); higher as in the labels it learned."""
        self._check_width(target_vectors, source_vectors)
        if self._fused is not None:
            fused: Floats = self._fused.relu_pairs(
                target_vectors, source_vectors, self._relu_weight, self._offset
            )
            return fused
        out = np.empty((len(target_vectors), len(source_vectors)), np.float32)

        def tile(corner: tuple[int, int]) -> None:
            row, column = corner
            targets = target_vectors[row : row + TILE_TARGETS]
            sources = source_vectors[column : column + TILE_SOURCES]
            values = self._run(
                "influence",
                target_vectors=filled(targets, TILE_TARGETS),
                source_vectors=filled(sources, TILE_SOURCES),
            )
            check_finite(values, (TILE_TARGETS, TILE_SOURCES), self._name())
            cells = out[row : row + TILE_TARGETS, column : column + TILE_SOURCES]
            cells[:] = values[: len(targets), : len(sources)]

        rows = range(0, len(target_vectors), TILE_TARGETS)
        self._share(tile, product(rows, range(0, len(source_vectors), TILE_SOURCES)))
        return out

    __call__ = influence

    def panel_influence(self, source_vectors: Floats) -> Floats:
        """Mean of S over the reference panel inside the file, (n,); Incompatible without one."""
        if not self.metadata["panel_ids"]:
            raise Incompatible(f"{self._name()} has no reference panel")
        self._check_width(source_vectors)
        if self._fused is not None and self._panel is not None:
            means: Doubles = self._fused.relu_panel_means(
                self._panel, source_vectors, self._relu_weight, self._offset
            )
            return means.astype(np.float32)
        out = np.empty(len(source_vectors), np.float32)

        def tile(k: int) -> None:
            sources = source_vectors[k : k + TILE_SOURCES]
            values = self._run("influence", source_vectors=filled(sources, TILE_SOURCES))
            check_finite(values, (len(self.metadata["panel_ids"]), TILE_SOURCES), self._name())
            out[k : k + TILE_SOURCES] = values.mean(axis=0, dtype=np.float64)[: len(sources)]

        self._share(tile, range(0, len(source_vectors), TILE_SOURCES))
        return out

    @cached_property
    def _fused(self) -> ModuleType | None:
        """The fused loops, where the head is relu and runs on the CPU."""
        if self.metadata["head"] != "relu" or self.provider != CPU:
            return None
        from influence_store.network import fused_head

        return fused_head

    @cached_property
    def _panel(self) -> Floats | None:
        """Target vectors of the panel, where the file tells them (older ones do not)."""
        told = "panel_vectors" in {output.name for output in self._session.get_outputs()}
        if not told:
            return None
        shape = len(self.metadata["panel_ids"]), self.width
        return check_finite(self._run("panel_vectors"), shape, self._name())

    @cached_property
    def _offset(self) -> float:
        """S of two vectors of zeros."""
        zero = np.zeros((1, self.width), np.float32)
        value = self._run("influence", target_vectors=zero, source_vectors=zero)
        return float(check_finite(value, (1, 1), self._name())[0, 0])

    @cached_property
    def _relu_weight(self) -> Floats:
        """a_k = (S(2⁴⁰ e_k, 0) − S(0, 0)) / 2⁴⁰: the graph itself is asked, and answers exactly.

        Of a sum with one term only its rounding to float32 is lost, less than 1e-7 of a_k.
        """
        axes = PROBE * np.eye(self.width, dtype=np.float32)
        zero = np.zeros((1, self.width), np.float32)
        values = self._run("influence", target_vectors=axes, source_vectors=zero)
        answers = check_finite(values, (self.width, 1), self._name())[:, 0]
        weight: Floats = ((answers.astype(np.float64) - self._offset) / PROBE).astype(np.float32)
        return weight

    def _vectors(self, role: str, features: Features) -> Floats:
        x = features if features.names == self.features else features.select(self.features)
        if x.dims != self.dims:
            raise Incompatible(
                f"{self._name()} reads {dict(zip(self.features, self.dims, strict=True))} columns, "
                f"found {dict(zip(x.names, x.dims, strict=True))}"
            )
        out = np.empty((len(x), self.width), np.float32)

        def batch(k: int) -> None:
            rows = x.values[k : k + BATCH_ROWS]
            fed = {f"{role}_features": filled(rows, BATCH_ROWS)}
            vectors = self._run(f"{role}_vector", **fed)
            check_finite(vectors, (BATCH_ROWS, self.width), self._name())
            out[k : k + BATCH_ROWS] = vectors[: len(rows)]

        self._share(batch, range(0, len(x), BATCH_ROWS))
        return out

    def _share(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Several runs at once on the CPU; a GPU has its own ways."""
        share(work, items, threads=None if self.provider == CPU else 1)

    def _run(self, output: str, **inputs: Floats) -> Floats:
        return run_onnx(self._session, output, inputs, self._name())

    def _check_width(self, *vectors: Floats) -> None:
        for one in vectors:
            if one.ndim != 2 or one.shape[1] != self.width:
                raise Incompatible(
                    f"{self._name()} pairs vectors of width {self.width}, found shape {one.shape}"
                )

    def _name(self) -> str:
        return f"estimator {self.metadata['network']!r}"


def filled(rows: Floats, size: int) -> Floats:
    """`rows` and as many zero rows as make it `size`, contiguous float32; no copy of a full one."""
    if len(rows) == size:
        return np.ascontiguousarray(rows, np.float32)
    out = np.zeros((size, rows.shape[1]), np.float32)
    out[: len(rows)] = rows
    return out
