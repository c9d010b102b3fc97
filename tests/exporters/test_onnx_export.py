from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.schema.estimator import (
    Affine,
    Beside,
    Columns,
    Head,
    PairEstimator,
    RadialBasis,
    Scale,
    Tower,
    Unit,
)

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from influence_store.exporters.onnx import check_parity, export_onnx  # noqa: E402

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def every_layer() -> PairEstimator:
    """d = 6 (embedding 4, lengths 2); left: unit embedding, right: kernel expansion."""
    kernel = (
        Scale(normal(6), normal(6)),
        RadialBasis(normal(9, 6), 0.3),
        Affine(normal(9, 3), normal(3)),
    )
    target = Tower((Unit(0, 4), Beside(((Columns(0, 4),), kernel))), 6, 7)
    source = Tower((Unit(2, 5), Affine(normal(6, 7), normal(7))), 6, 7)
    head = Head("dot", 0.5, -0.1)
    return PairEstimator(
        "test", ("embedding", "lengths"), (4, 2), target, source, head, {"seed": 1}
    )


def relu_estimator() -> PairEstimator:
    tower = Tower((Affine(normal(6, 5), normal(5)),), 6, 5)
    head = Head("relu", 2.0, 0.3, normal(5))
    return PairEstimator("relu", ("embedding",), (6,), tower, tower, head, {})


def session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("make", [every_layer, relu_estimator])
def test_file_and_numpy_reference_agree(make):
    estimator = make()
    running = session(export_onnx(estimator, fingerprints={}))
    x, y = normal(11, 6), normal(4, 6)
    p = running.run(["target_vector"], {"target_features": x})[0]
    q = running.run(["source_vector"], {"source_features": y})[0]
    np.testing.assert_allclose(p, estimator.target_tower(x), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(q, estimator.source_tower(y), atol=1e-5, rtol=1e-5)
    s = running.run(["influence"], {"target_vectors": p, "source_vectors": q})[0]
    assert s.shape == (11, 4)
    np.testing.assert_allclose(s, estimator.predict(x, y), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("make", [every_layer, relu_estimator])
def test_whatever_is_not_asked_for_need_not_be_fed(make):
    running = session(export_onnx(make(), fingerprints={}))
    assert running.run(["influence"], {})[0].shape == (0, 0)
    assert not running.get_inputs()
    assert {one.name for one in running.get_overridable_initializers()} == {
        "target_features",
        "source_features",
        "target_vectors",
        "source_vectors",
    }


def test_reference_panel_is_the_default_of_the_targets():
    estimator = every_layer()
    panel, y = normal(5, 6), normal(3, 6)
    running = session(
        export_onnx(estimator, fingerprints={}, panel=panel, panel_ids=tuple("abcde"))
    )
    q = running.run(["source_vector"], {"source_features": y})[0]
    s = running.run(["influence"], {"source_vectors": q})[0]
    np.testing.assert_allclose(s, estimator.predict(panel, y), atol=2e-5)


@pytest.mark.parametrize("part", ["tower", "head"])
def test_a_tampered_weight_is_refused_and_says_by_how_much(part):
    estimator = every_layer()
    content = export_onnx(estimator, fingerprints={})
    assert check_parity(content, estimator) <= 1e-5
    if part == "head":
        other = replace(estimator, head=replace(estimator.head, offset=-0.1 + 1e-3))
    else:
        affine = estimator.source_tower.layers[1]
        changed = replace(affine, bias=affine.bias + np.float32(1e-3))
        tower = replace(estimator.source_tower, layers=(estimator.source_tower.layers[0], changed))
        other = replace(estimator, source_tower=tower)
    with pytest.raises(Incompatible, match=r"is off by 0\.00\d+, allowed 1e-05"):
        check_parity(content, other)


def test_a_weight_that_is_not_a_number_is_refused():
    estimator = every_layer()
    broken = replace(estimator, head=replace(estimator.head, offset=float("nan")))
    with pytest.raises(Incompatible, match="off by nan"):
        export_onnx(broken, fingerprints={})


def test_metadata_tell_what_the_file_needs():
    content = export_onnx(every_layer(), fingerprints={"embedding": "ab"}, panel_ids=("x",))
    props = {p.key: json.loads(p.value) for p in onnx.load_from_string(content).metadata_props}
    assert props["features"] == ["embedding", "lengths"]
    assert props["dims"] == [4, 2]
    assert props["fingerprints"] == {"embedding": "ab"}
    assert props["facts"] == {"seed": 1}
    assert props["panel_ids"] == ["x"]
    assert props["head"] == "dot"


def test_the_same_estimator_gives_the_same_bytes():
    estimator = every_layer()
    one, other = (export_onnx(estimator, fingerprints={"embedding": "ab"}) for _ in range(2))
    assert one == other


def test_fingerprint_of_a_block_that_is_not_read_is_refused():
    with pytest.raises(Incompatible, match="nll"):
        export_onnx(every_layer(), fingerprints={"nll": "ab"})


def test_features_that_do_not_fill_the_towers_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        replace(every_layer(), dims=(4, 1))
