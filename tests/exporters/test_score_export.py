from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.schema.estimator import (
    Affine,
    RadialBasis,
    Relu,
    Scale,
    ScoreEstimator,
    ScoreHead,
    Softmax,
    Tower,
    Unit,
)

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from influence_store.exporters.onnx import check_score_parity, export_scores  # noqa: E402

RNG = np.random.default_rng(0)
STEEP = np.sort(np.exp(4 * RNG.normal(size=65)))


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def estimator(*layers, head: ScoreHead) -> ScoreEstimator:
    return ScoreEstimator("test", ("embedding",), (6,), Tower(layers, 6, 1), head, {"seed": 1})


def net() -> ScoreEstimator:
    return estimator(
        Affine(normal(6, 9), normal(9)),
        Relu(),
        Affine(normal(9, 1), normal(1)),
        head=ScoreHead("affine", 250.0, -3.0),
    )


def neighbours() -> ScoreEstimator:
    last = Affine(RNG.random((8, 1)).astype("f"), np.zeros(1, "f"))
    return estimator(
        Unit(0, 6),
        Affine(20 * normal(6, 8), np.zeros(8, "f")),
        Softmax(),
        last,
        head=ScoreHead("quantiles", quantiles=STEEP),
    )


def kernel() -> ScoreEstimator:
    return estimator(
        Scale(normal(6), normal(6)),
        RadialBasis(normal(9, 6), 0.1),
        Affine(0.3 * normal(9, 1), np.full(1, 0.5, "f")),
        head=ScoreHead("quantiles", quantiles=STEEP),
    )


@pytest.mark.parametrize("make", [net, neighbours, kernel])
def test_file_and_numpy_reference_agree(make):
    made = make()
    content = export_scores(made, fingerprints={})
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = normal(50, 6)
    raw, score = session.run(["raw", "score"], {"features": x})
    assert raw.shape == score.shape == (50,)
    np.testing.assert_allclose(raw, made.tower(x)[:, 0], atol=1e-5, rtol=1e-5)
    # The head is steep: what it makes of the file's own raw values is exact to float32.
    np.testing.assert_allclose(score, made.head(raw), rtol=1e-6, atol=1e-6)
    assert check_score_parity(content, made, x) <= 1e-5


def test_quantiles_end_at_the_extreme_labels():
    wide = estimator(
        Affine(100 * normal(6, 1), normal(1)), head=ScoreHead("quantiles", quantiles=STEEP)
    )
    content = export_scores(wide, fingerprints={})
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (score,) = session.run(["score"], {"features": normal(60, 6)})
    assert score.min() == np.float32(STEEP[0])
    assert score.max() == np.float32(STEEP[-1])


@pytest.mark.parametrize("part", ["tower", "head"])
def test_a_tampered_weight_is_refused_and_says_by_how_much(part):
    made = kernel()
    content = export_scores(made, fingerprints={})
    if part == "head":
        other = replace(made, head=ScoreHead("quantiles", quantiles=STEEP * 1.001))
    else:
        last = made.tower.layers[-1]
        moved = replace(last, bias=last.bias + np.float32(1e-3))
        other = replace(made, tower=Tower((*made.tower.layers[:-1], moved), 6, 1))
    with pytest.raises(Incompatible, match=r"is off by .*, allowed 1e-05"):
        check_score_parity(content, other)


def test_metadata_tell_what_the_file_needs():
    content = export_scores(net(), fingerprints={"embedding": "ab"})
    props = {p.key: json.loads(p.value) for p in onnx.load_from_string(content).metadata_props}
    assert props["format"] == "influence-store.score-estimator/1"
    assert props["features"] == ["embedding"]
    assert props["dims"] == [6]
    assert props["fingerprints"] == {"embedding": "ab"}
    assert props["facts"] == {"seed": 1}
    with pytest.raises(Incompatible, match="nll"):
        export_scores(net(), fingerprints={"nll": "ab"})


def test_the_same_estimator_gives_the_same_bytes():
    made = neighbours()
    assert export_scores(made, fingerprints={}) == export_scores(made, fingerprints={})
