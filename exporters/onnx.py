"""Writes a trained pair estimator as one ONNX file, and refuses if the file computes otherwise.

One graph, three uses; whatever is not asked for need not be fed:

    target_features [n, d] → target_vector [n, h]         source_features [m, d] → source_vector
    target_vectors [r, h], source_vectors [c, h] → influence [r, c]

Every input has a default: no rows, except `target_vectors`, whose default is the vectors of the
reference panel if there is one. Scaling of features and labels is inside the graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.protocols import Floats
from influence_store.schema.estimator import (
    ONNX_FORMAT,
    Affine,
    Beside,
    Columns,
    PairEstimator,
    RadialBasis,
    Scale,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.schema.estimator import Layer, Tower

OPSET, IR_VERSION = 18, 9
PARITY = 1e-5


def export_onnx(
    estimator: PairEstimator,
    *,
    fingerprints: Mapping[str, str],
    panel: Floats | None = None,
    panel_ids: tuple[str, ...] = (),
    probe: Floats | None = None,
) -> bytes:
    """The file's bytes, the same for the same estimator.

    `fingerprints` names the producer of each feature block (block → fingerprint), `panel` holds
    the target *features* (r, d) of the reference panel and `panel_ids` who they are. `probe`
    (n, d) are real feature rows for the parity check; random rows join them. Incompatible if ONNX
    Runtime and the numpy reference differ by more than 1e-5 · max(1, |y|) on any output.
    """
    unknown = set(fingerprints) - set(estimator.features)
    if unknown:
        raise Incompatible(f"fingerprints for {sorted(unknown)}, features {estimator.features}")
    onnx = require("onnx", extra="train")
    vectors = None if panel is None else estimator.target_tower(panel).astype(np.float32)
    model = _model(onnx, estimator, vectors)
    onnx.helper.set_model_props(model, _metadata(estimator, fingerprints, panel_ids))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    check_parity(content, estimator, probe)
    return content


def check_parity(content: bytes, estimator: PairEstimator, probe: Floats | None = None) -> float:
    """Greatest |Δ| / max(1, |y|) between the file and `estimator`; Incompatible above 1e-5."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(0).normal(size=(64, estimator.target_tower.d_in))
    rows = rows / np.sqrt(estimator.target_tower.d_in)
    x = np.concatenate([rows, *([] if probe is None else [probe])]).astype(np.float32)
    p, q = estimator.target_tower(x), estimator.source_tower(x)
    fed = {
        "target_vector": {"target_features": x},
        "source_vector": {"source_features": x},
        "influence": {
            "target_vectors": p.astype(np.float32),
            "source_vectors": q.astype(np.float32),
        },
    }
    expected = {"target_vector": p, "source_vector": q, "influence": estimator.head(p, q)}
    worst = 0.0
    for name, inputs in fed.items():
        got, y = session.run([name], inputs)[0], expected[name]
        off = float((np.abs(got - y) / np.maximum(1.0, np.abs(y))).max())
        if not off <= PARITY:
            raise Incompatible(
                f"ONNX output {name!r} of {estimator.network} is off by {off:.2g}, "
                f"allowed {PARITY:g}",
                hint="train again with another --seed, or with --network cosine, and report this",
            )
        worst = max(worst, off)
    return worst


@dataclass
class _Graph:
    """Nodes and constants while the graph grows; names are unique by a running number."""

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        name = to or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def columns(self, x: str, start: int, stop: int) -> str:
        return self.op("Slice", x, self.ints(start), self.ints(stop), self.ints(1))


def _model(onnx: Any, estimator: PairEstimator, panel: Floats | None) -> Any:
    graph = _Graph(onnx)
    d, h = estimator.target_tower.d_in, estimator.target_tower.d_out
    _tower(graph, estimator.target_tower, "target_features", "target_vector")
    _tower(graph, estimator.source_tower, "source_features", "source_vector")
    _head(graph, estimator)

    tensor, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs = {
        "target_features": ("n", d, None),
        "source_features": ("m", d, None),
        "target_vectors": ("r", h, panel),
        "source_vectors": ("c", h, None),
    }
    defaults = [
        onnx.numpy_helper.from_array(
            np.zeros((0, width), np.float32) if default is None else default, name
        )
        for name, (_, width, default) in inputs.items()
    ]
    built = onnx.helper.make_graph(
        graph.nodes,
        "pair-estimator",
        [tensor(name, float32, [rows, width]) for name, (rows, width, _) in inputs.items()],
        [
            tensor("target_vector", float32, ["n", h]),
            tensor("source_vector", float32, ["m", h]),
            tensor("influence", float32, ["r", "c"]),
        ],
        [*defaults, *graph.constants],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(built, opset_imports=[opset], ir_version=IR_VERSION)


def _tower(graph: _Graph, tower: Tower, given: str, result: str) -> None:
    graph.op("Identity", _through(graph, tower.layers, given), to=result)


def _through(graph: _Graph, layers: tuple[Layer, ...], x: str) -> str:
    for layer in layers:
        x = _layer(graph, layer, x)
    return x


def _layer(graph: _Graph, layer: Layer, x: str) -> str:
    match layer:
        case Scale():
            scaled = graph.op("Mul", x, graph.constant(layer.weight))
            return graph.op("Add", scaled, graph.constant(layer.bias))
        case Affine():
            product = graph.op("MatMul", x, graph.constant(layer.weight))
            return graph.op("Add", product, graph.constant(layer.bias))
        case Unit():
            return _unit(graph, layer, x)
        case RadialBasis():
            return _radial_basis(graph, layer, x)
        case Columns():
            return graph.columns(x, layer.start, layer.stop)
        case Beside():
            parts = [_through(graph, part, x) for part in layer.parts]
            return graph.op("Concat", *parts, axis=1)


def _unit(graph: _Graph, layer: Unit, x: str) -> str:
    before = graph.columns(x, 0, layer.start)
    part = graph.columns(x, layer.start, layer.stop)
    after = graph.columns(x, layer.stop, np.iinfo(np.int64).max)
    norm = graph.op("ReduceL2", part, graph.ints(1), keepdims=1)
    unit = graph.op("Div", part, graph.op("Max", norm, graph.constant(1e-12)))
    return graph.op("Concat", before, unit, after, axis=1)


def _radial_basis(graph: _Graph, layer: RadialBasis, x: str) -> str:
    """exp(γ (2⟨x, c⟩ − ‖c‖² − ‖x‖²)), never above 1."""
    centres = layer.centres.astype(np.float64)
    inner = graph.op("MatMul", x, graph.constant(2.0 * centres.T))
    own = graph.op("ReduceSumSquare", x, graph.ints(1), keepdims=1)
    near = graph.op("Sub", graph.op("Sub", inner, graph.constant((centres**2).sum(1))), own)
    negative = graph.op("Min", near, graph.constant(0.0))
    return graph.op("Exp", graph.op("Mul", negative, graph.constant(layer.gamma)))


def _head(graph: _Graph, estimator: PairEstimator) -> None:
    head = estimator.head
    if head.kind == "dot":
        flipped = graph.op("Transpose", "source_vectors", perm=[1, 0])
        raw = graph.op("MatMul", "target_vectors", flipped)
    else:
        p = graph.op("Unsqueeze", "target_vectors", graph.ints(1))
        q = graph.op("Unsqueeze", "source_vectors", graph.ints(0))
        active = graph.op("Relu", graph.op("Add", p, q))
        summed = graph.op("MatMul", active, graph.constant(head.weight[:, None]))
        raw = graph.op("Squeeze", summed, graph.ints(2))
    scaled = graph.op("Mul", raw, graph.constant(head.scale))
    graph.op("Add", scaled, graph.constant(head.offset), to="influence")


def _metadata(
    estimator: PairEstimator, fingerprints: Mapping[str, str], panel_ids: tuple[str, ...]
) -> dict[str, str]:
    """Strings, each one JSON document, so that any ONNX reader can show them."""
    facts = {
        "format": ONNX_FORMAT,
        "network": estimator.network,
        "features": estimator.features,
        "dims": estimator.dims,
        "fingerprints": fingerprints,
        "head": estimator.head.kind,
        "width": estimator.target_tower.d_out,
        "panel_ids": panel_ids,
        "facts": estimator.facts,
    }
    dump = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return {key: orjson.dumps(value, option=dump).decode() for key, value in facts.items()}
