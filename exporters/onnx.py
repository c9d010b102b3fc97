"""Writes a trained estimator as one ONNX file, and refuses if the file computes otherwise.

Pairs: one graph, three uses; whatever is not asked for need not be fed:

    target_features [n, d] → target_vector [n, h]         source_features [m, d] → source_vector
    target_vectors [r, h], source_vectors [c, h] → influence [r, c]

Every input has a default: no rows, except `target_vectors`, whose default is the vectors of the
reference panel if there is one; `panel_vectors` hands them out, for readers that run the head
themselves. Scaling of features and labels is inside the graph.

Scores: features [n, d] → raw [n] (the tower) and score [n] (the head, in double precision inside:
the quantile function of heavy-tailed labels is steep).
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
    SCORE_FORMAT,
    Affine,
    Beside,
    Columns,
    PairEstimator,
    RadialBasis,
    Relu,
    Scale,
    ScoreEstimator,
    Softmax,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.schema.estimator import Layer, ScoreHead, Tower

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
    onnx = require("onnx", extra="train")
    vectors = None if panel is None else estimator.target_tower(panel).astype(np.float32)
    facts = {
        **_facts(estimator, fingerprints),
        "format": ONNX_FORMAT,
        "head": estimator.head.kind,
        "width": estimator.target_tower.d_out,
        "panel_ids": panel_ids,
    }
    content = _written(onnx, _model(onnx, estimator, vectors), facts)
    check_parity(content, estimator, probe)
    return content


def export_scores(
    estimator: ScoreEstimator, *, fingerprints: Mapping[str, str], probe: Floats | None = None
) -> bytes:
    """The file's bytes for an estimator of scores; arguments and errors as of `export_onnx`."""
    onnx = require("onnx", extra="train")
    facts = {
        **_facts(estimator, fingerprints),
        "format": SCORE_FORMAT,
        "head": estimator.head.kind,
    }
    content = _written(onnx, _score_model(onnx, estimator), facts)
    check_score_parity(content, estimator, probe)
    return content


def check_parity(content: bytes, estimator: PairEstimator, probe: Floats | None = None) -> float:
    """Greatest |Δ| / max(1, |y|) between the file and `estimator`; Incompatible above 1e-5."""
    session = _session(content)
    x = _probes(estimator.target_tower.d_in, probe)
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
    return max(
        _off(name, estimator.network, session.run([name], inputs)[0], expected[name])
        for name, inputs in fed.items()
    )


def check_score_parity(
    content: bytes, estimator: ScoreEstimator, probe: Floats | None = None
) -> float:
    """The same for an estimator of scores; its head is compared on the file's own `raw`."""
    x = _probes(estimator.tower.d_in, probe)
    raw, score = _session(content).run(["raw", "score"], {"features": x})
    return max(
        _off("raw", estimator.network, raw, estimator.tower(x)[:, 0]),
        _off("score", estimator.network, score, estimator.head(raw)),
    )


def _session(content: bytes) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _probes(d: int, probe: Floats | None) -> Floats:
    """64 random rows, and the real ones that are given."""
    rows = np.random.default_rng(0).normal(size=(64, d)) / np.sqrt(d)
    return np.concatenate([rows, *([] if probe is None else [probe])]).astype(np.float32)


def _off(output: str, network: str, got: Floats, y: Any) -> float:
    """Greatest |Δ| / max(1, |y|); Incompatible above 1e-5."""
    off = float((np.abs(got - y) / np.maximum(1.0, np.abs(y))).max())
    if not off <= PARITY:
        raise Incompatible(
            f"ONNX output {output!r} of {network} is off by {off:.2g}, allowed {PARITY:g}",
            hint="train again with another --seed, or with --network cosine, and report this",
        )
    return off


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

    def op(self, kind: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        name = result or f"v{len(self.nodes)}"
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
    graph.op("Identity", "target_vectors", result="panel_vectors")

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
    outputs = [
        tensor("target_vector", float32, ["n", h]),
        tensor("source_vector", float32, ["m", h]),
        tensor("influence", float32, ["r", "c"]),
        tensor("panel_vectors", float32, ["r", h]),
    ]
    taken = [tensor(name, float32, [rows, width]) for name, (rows, width, _) in inputs.items()]
    return _built(graph, "pair-estimator", taken, outputs, defaults)


def _score_model(onnx: Any, estimator: ScoreEstimator) -> Any:
    graph = _Graph(onnx)
    column = _through(graph, estimator.tower.layers, "features")
    graph.op("Squeeze", column, graph.ints(1), result="raw")
    _score_head(graph, estimator.head)
    tensor, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    given = tensor("features", float32, ["n", estimator.tower.d_in])
    outputs = [tensor(name, float32, ["n"]) for name in ("raw", "score")]
    return _built(graph, "score-estimator", [given], outputs)


def _built(
    graph: _Graph, name: str, inputs: list[Any], outputs: list[Any], defaults: Sequence[Any] = ()
) -> Any:
    onnx = graph.onnx
    made = onnx.helper.make_graph(graph.nodes, name, inputs, outputs, [*defaults, *graph.constants])
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION)


def _tower(graph: _Graph, tower: Tower, given: str, result: str) -> None:
    graph.op("Identity", _through(graph, tower.layers, given), result=result)


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
        case Relu():
            return graph.op("Relu", x)
        case Softmax():
            return graph.op("Softmax", x, axis=1)
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
    graph.op("Add", scaled, graph.constant(head.offset), result="influence")


def _score_head(graph: _Graph, head: ScoreHead) -> None:
    onnx, double = graph.onnx, np.float64
    u = graph.op("Cast", "raw", to=onnx.TensorProto.DOUBLE)
    if head.kind == "affine":
        scaled = graph.op("Mul", u, graph.constant(head.scale, double))
        score = graph.op("Add", scaled, graph.constant(head.offset, double))
    else:
        steps = len(head.quantiles) - 1
        inside = graph.op("Clip", u, graph.constant(0.0, double), graph.constant(1.0, double))
        place = graph.op("Mul", inside, graph.constant(float(steps), double))
        step = graph.op("Min", graph.op("Floor", place), graph.constant(steps - 1.0, double))
        at = graph.op("Cast", step, to=onnx.TensorProto.INT64)
        low = graph.op("Gather", graph.constant(head.quantiles[:-1], double), at)
        rise = graph.op("Gather", graph.constant(np.diff(head.quantiles), double), at)
        part = graph.op("Mul", graph.op("Sub", place, step), rise)
        score = graph.op("Add", low, part)
    graph.op("Cast", score, result="score", to=onnx.TensorProto.FLOAT)


def _written(onnx: Any, model: Any, facts: Mapping[str, Any]) -> bytes:
    """The checked model with its facts as strings, each one JSON document for any ONNX reader."""
    dump = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    props = {key: orjson.dumps(value, option=dump).decode() for key, value in facts.items()}
    onnx.helper.set_model_props(model, props)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _facts(
    estimator: PairEstimator | ScoreEstimator, fingerprints: Mapping[str, str]
) -> dict[str, Any]:
    """What a reader must know to feed the file."""
    unknown = set(fingerprints) - set(estimator.features)
    if unknown:
        raise Incompatible(f"fingerprints for {sorted(unknown)}, features {estimator.features}")
    return {
        "network": estimator.network,
        "features": estimator.features,
        "dims": estimator.dims,
        "fingerprints": fingerprints,
        "facts": estimator.facts,
    }
