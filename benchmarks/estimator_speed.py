"""How many pairs a second does an estimator value, and how long do a million rows take?

    python benchmarks/estimator_speed.py

The published network (2 · 384 → 100 → 1, random weights) four ways: one call of the whole torch
net per pair, as released; the whole net as ONNX on batches of joined pairs; taken apart, its head
through ONNX Runtime; the same head as a fused loop. Beside it, heads that are dot products. Then
the towers over --rows rows of 384 + 2 numbers, made in chunks as `fill` reads them.

The process keeps to one core and counts CPU seconds: no path wins by threads, and other work on
the machine disturbs little. Paths take turns; figures are medians over --repeats. Δ is against
the float64 reference, relative to max(1, |y|), on all pairs of the path.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import torch

from influence_store.exporters.onnx import export_onnx
from influence_store.network import nn_cift
from influence_store.network.features import Features
from influence_store.network.onnx_estimator import CPU, OnnxEstimator
from influence_store.schema.estimator import (
    Affine,
    Head,
    PairEstimator,
    RadialBasis,
    Scale,
    Tower,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DIM, EXTRA = 384, 2
TURN_SECONDS = 0.4
#: Targets × sources of the slow paths: a tenth of a second or so.
RELEASED, BATCHED, GRAPH = (20, 50), (50, 200), (128, 1024)
#: The best of 64, 256, 1,024, 4,096 and 16,384 here.
BATCH = 256
CHUNK, PANEL = 65_536, 256
CENTRES, RANK = 100, 64


@dataclass(frozen=True)
class Path:
    """One way to value targets × sources; `values()` computes them, `reference` says what."""

    name: str
    shape: tuple[int, int]
    values: Callable[[], np.ndarray]
    reference: np.ndarray


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows for the towers")
    parser.add_argument("--side", type=int, default=2_000, help="targets = sources, fast heads")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    vectors = unit(asked.side)
    heads([*network_paths(vectors), *dot_paths(vectors)], asked.repeats)
    towers(asked.rows)


def heads(paths, repeats):
    """A line per path; the first is the released loop, the second the naive batches."""
    for path in paths:
        path.values()  # compiles, warms up
    seconds = {path.name: [] for path in paths}
    worst = {}
    for _ in range(repeats):
        for path in paths:
            got, lap = turn(path)
            seconds[path.name].append(lap)
            off = np.abs(got - path.reference) / np.maximum(1.0, np.abs(path.reference))
            worst[path.name] = float(off.max())
    rate = {p.name: p.shape[0] * p.shape[1] / float(np.median(seconds[p.name])) for p in paths}
    released, batched = (rate[path.name] for path in paths[:2])
    print("| path | targets × sources | pairs/s | × released | × batched | max Δ |")
    print("|---|---|--:|--:|--:|--:|")
    for path in paths:
        pairs = rate[path.name]
        print(
            f"| {path.name} | {path.shape[0]:,} × {path.shape[1]:,} | {pairs:,.0f} | "
            f"{pairs / released:,.1f} | {pairs / batched:,.1f} | {worst[path.name]:.0e} |"
        )


def turn(path):
    """Values, and CPU seconds per call over as many calls as fill the turn."""
    start, calls = time.process_time(), 0
    while time.process_time() - start < TURN_SECONDS:
        got = path.values()
        calls += 1
    return got, (time.process_time() - start) / calls


def network_paths(vectors):
    """The published network in its four forms, and the fused one with its towers."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2 * DIM, nn_cift.HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(nn_cift.HIDDEN, 1),
    ).eval()
    estimator = nn_cift.separate(net, 0.0, 1.0, {})
    content = export_onnx(estimator, fingerprints={})
    fused, graph = (OnnxEstimator(content, device="cpu") for _ in range(2))
    graph._fused = None  # as on a GPU
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # two on one core would halve its speed
    whole = ort.InferenceSession(whole_net(net), options, providers=[CPU])
    features = Features.of({"embedding": vectors})
    p, q = fused.target_vectors(features), fused.source_vectors(features)
    reference = in_double(estimator, vectors)

    def path(name, shape, run):
        rows, columns = shape
        return Path(name, shape, lambda: run(rows, columns), reference[:rows, :columns])

    everything = (len(vectors), len(vectors))
    return [
        path("pair by pair, whole net in torch", RELEASED, lambda *n: loop(net, vectors, *n)),
        path(
            f"batches of {BATCH:,}, whole net", BATCHED, lambda r, c: joined(whole, vectors, r, c)
        ),
        path("factorised, ONNX head", GRAPH, lambda r, c: graph.influence(p[:r], q[:c])),
        path("factorised, fused head", everything, lambda *_: fused.influence(p, q)),
        path(
            "factorised, fused head, towers included",
            everything,
            lambda *_: fused.influence(
                fused.target_vectors(features), fused.source_vectors(features)
            ),
        ),
    ]


def dot_paths(vectors):
    """Heads that are dot products: through ONNX Runtime, and as one product of numpy."""
    found = []
    everything = (len(vectors), len(vectors))
    for width in (32, 128):
        rng = np.random.default_rng(width)
        towers = [Tower((affine(rng, DIM, width),), DIM, width) for _ in range(2)]
        estimator = PairEstimator("dot", ("embedding",), (DIM,), *towers, Head("dot", 0.3, 0.1), {})
        loaded = OnnxEstimator(export_onnx(estimator, fingerprints={}), device="cpu")
        features = Features.of({"embedding": vectors})
        p, q = loaded.target_vectors(features), loaded.source_vectors(features)
        reference = in_double(estimator, vectors)
        head = estimator.head
        scale, offset = np.float32(head.scale), np.float32(head.offset)
        paths = {
            "ONNX head": lambda one=loaded, p=p, q=q: one.influence(p, q),
            "numpy": lambda p=p, q=q, a=scale, b=offset: (p @ q.T) * a + b,
        }
        for name, run in paths.items():
            found.append(Path(f"dot product of {width}, {name}", everything, run, reference))
    return found


def loop(net, vectors, rows, columns):
    """As released: one call per pair, each result brought back to Python by itself."""
    tensors = torch.from_numpy(vectors)
    out = np.empty((rows, columns))
    with torch.inference_mode():
        for i in range(rows):
            for j in range(columns):
                out[i, j] = net(torch.cat([tensors[i], tensors[j]])).item()
    return out


def joined(session, vectors, rows, columns):
    """All pairs as joined embeddings, a batch at a time."""
    targets, sources = (a.ravel() for a in np.divmod(np.arange(rows * columns), columns))
    out = np.empty(rows * columns, np.float32)
    for start in range(0, len(out), BATCH):
        at = slice(start, start + BATCH)
        pairs = np.concatenate([vectors[targets[at]], vectors[sources[at]]], axis=1)
        out[at] = session.run(None, {"pairs": pairs})[0][:, 0]
    return out.reshape(rows, columns)


def whole_net(net):
    """The torch net as one ONNX graph on joined embeddings (n, 2 · DIM)."""
    make, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    constants = {
        f"{kind}{at}": getattr(net[2 * at], kind).detach().numpy().T
        for at in (0, 1)
        for kind in ("weight", "bias")
    }
    nodes = [
        onnx.helper.make_node("Gemm", ["pairs", "weight0", "bias0"], ["hidden"]),
        onnx.helper.make_node("Relu", ["hidden"], ["active"]),
        onnx.helper.make_node("Gemm", ["active", "weight1", "bias1"], ["influence"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "whole-net",
        [make("pairs", number, ["n", 2 * DIM])],
        [make("influence", number, ["n", 1])],
        [onnx.numpy_helper.from_array(value.copy(), name) for name, value in constants.items()],
    )
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def in_double(estimator, vectors):
    """The reference, a few targets at a time so that no tile outgrows the cache by far."""
    return np.concatenate(
        [estimator.predict(vectors[k : k + 16], vectors) for k in range(0, len(vectors), 16)]
    )


def towers(rows):
    """CPU seconds for target vectors, source vectors and panel means, from medians of chunks."""
    loaded = {name: opened(one) for name, one in tower_estimators().items()}
    parts = ("target", "source", "panel")
    seconds = {(name, part): [] for name in loaded for part in parts}
    few = np.zeros((1, nn_cift.HIDDEN), np.float32)
    loaded[next(iter(loaded))].panel_influence(few)  # compiles
    chunk = min(CHUNK, rows)
    for start in range(0, rows, chunk):
        values = unit(chunk, DIM + EXTRA, seed=start)
        features = Features.of({"embedding": values[:, :DIM], "lengths": values[:, DIM:]})
        for name, estimator in loaded.items():
            laps = [time.process_time()]
            estimator.target_vectors(features)
            laps.append(time.process_time())
            vectors = estimator.source_vectors(features)
            laps.append(time.process_time())
            estimator.panel_influence(vectors)
            laps.append(time.process_time())
            for part, lap in zip(parts, np.diff(laps), strict=True):
                seconds[name, part].append(lap)
    print(f"\n| {rows:,} rows × {DIM} + {EXTRA} | target tower | source tower | panel of {PANEL} |")
    print("|---|--:|--:|--:|")
    for name in loaded:
        cells = [f"{np.median(seconds[name, part]) * rows / chunk:.1f} s" for part in parts]
        print(f"| {name} | {' | '.join(cells)} |")


def opened(estimator):
    """The estimator's file with a panel inside, on the CPU."""
    panel = unit(PANEL, DIM + EXTRA, seed=1)[:, : sum(estimator.dims)]
    ids = tuple(map(str, range(PANEL)))
    content = export_onnx(estimator, fingerprints={}, panel=panel, panel_ids=ids)
    return OnnxEstimator(content, device="cpu")


def tower_estimators():
    """The published network, and kernel ridge over 100 seed samples."""
    rng = np.random.default_rng(0)
    hidden, d = nn_cift.HIDDEN, DIM + EXTRA
    plain = [Tower((affine(rng, DIM, hidden),), DIM, hidden) for _ in range(2)]
    head = Head("relu", 1.0, 0.1, (rng.normal(size=hidden) / 10).astype(np.float32))
    kernel = [Tower(kernel_layers(rng, d), d, RANK) for _ in range(2)]
    blocks = ("embedding", "lengths")
    return {
        f"nn-cift: affine to {hidden}, relu head": PairEstimator(
            "nn-cift", ("embedding",), (DIM,), *plain, head, {}
        ),
        f"kernel ridge: {CENTRES} centres, rank {RANK}, dot head": PairEstimator(
            "kernel-ridge", blocks, (DIM, EXTRA), *kernel, Head("dot", 0.3, 0.1), {}
        ),
    }


def kernel_layers(rng, d):
    scale = Scale(np.ones(d, np.float32), np.zeros(d, np.float32))
    centres = unit(CENTRES, d, seed=int(rng.integers(1_000)))
    return scale, RadialBasis(centres, 0.5), affine(rng, CENTRES, RANK)


def affine(rng, d_in, d_out):
    weight = rng.normal(size=(d_in, d_out)) / np.sqrt(d_in)
    return Affine(weight.astype(np.float32), (rng.normal(size=d_out) / 10).astype(np.float32))


def unit(n, width=DIM, seed=0):
    """(n, width) rows of length 1."""
    values = np.random.default_rng(seed).standard_normal((n, width), np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


if __name__ == "__main__":
    main()
