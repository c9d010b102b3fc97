from __future__ import annotations

import logging

import numpy as np
import pytest

from influence_store import cores
from influence_store.errors import Incompatible
from influence_store.network import NETWORKS, onnx_file
from influence_store.network.features import Features
from influence_store.network.onnx_estimator import OnnxEstimator

pytest.importorskip("onnx")
from influence_store.exporters.onnx import export_onnx
from influence_store.schema.estimator import Affine, Head, PairEstimator, Tower

FINGERPRINTS = {"embedding": "e" * 32, "lengths": "1" * 32}


def trained(planter, name="two-step-kernel-ridge"):
    planted = planter.interaction(noise=0.1)
    estimator = NETWORKS.get(name)(planted.pairs, planted.features, seed=0)
    used = {block: FINGERPRINTS[block] for block in estimator.features}
    read = planted.features.select(estimator.features)
    content = export_onnx(
        estimator, fingerprints=used, panel=read.values[:5], panel_ids=tuple("abcde")
    )
    return estimator, OnnxEstimator(content, device="cpu"), planted.features


def drawn(planter, head):
    """An estimator with random towers and this head, its file opened, and the features."""
    rng, features = np.random.default_rng(5), planter.features
    d, h = features.values.shape[1], len(head.weight)
    weights, biases = rng.normal(size=(2, d, h)).astype("f"), rng.normal(size=(2, h)).astype("f")
    towers = [Tower((Affine(*one),), d, h) for one in zip(weights, biases, strict=True)]
    estimator = PairEstimator("x", features.names, features.dims, *towers, head, {})
    content = export_onnx(
        estimator, fingerprints={}, panel=features.values[:5], panel_ids=tuple("abcde")
    )
    return estimator, OnnxEstimator(content, device="cpu"), features


def relu_head(offset=0.25):
    weight = np.random.default_rng(6).normal(size=11) / 9
    return Head("relu", 0.7, offset, weight.astype("f"))


@pytest.mark.parametrize(
    "name", ["cosine", "additive-ridge", "two-step-kernel-ridge", "residual-on-cosine"]
)
def test_file_predicts_what_the_estimator_predicts(planter, name):
    estimator, loaded, features = trained(planter, name)
    p, q = loaded.target_vectors(features), loaded.source_vectors(features)
    read = features.select(estimator.features).values
    expected = estimator.predict(read, read)
    off = np.abs(loaded.influence(p, q) - expected) / np.maximum(1, np.abs(expected))
    assert off.max() < 2e-5  # towers and head are each within 1e-5


def test_rows_are_targets_also_where_the_matrix_is_not_square(planter):
    estimator, loaded, features = trained(planter)
    rows = Features(features.values[:70], features.names, features.dims)
    columns = Features(features.values[:9], features.names, features.dims)
    s = loaded(loaded.target_vectors(rows), loaded.source_vectors(columns))
    assert s.shape == (70, 9)
    np.testing.assert_allclose(s, estimator.predict(rows.values, columns.values), atol=2e-5)


def test_a_vector_does_not_depend_on_its_neighbours_by_one_bit(planter):
    _, loaded, features = trained(planter)
    whole = loaded.source_vectors(features)
    order = np.random.default_rng(0).permutation(len(features))
    moved = Features(features.values[order], features.names, features.dims)
    np.testing.assert_array_equal(loaded.source_vectors(moved), whole[order])
    alone = [
        loaded.source_vectors(Features(features.values[k : k + 1], features.names, features.dims))
        for k in (0, 17, 119)
    ]
    np.testing.assert_array_equal(np.concatenate(alone), whole[[0, 17, 119]])


def test_panel_influence_is_the_mean_over_the_panel_and_never_depends_on_neighbours(planter):
    _, loaded, features = trained(planter)
    q = loaded.source_vectors(features)
    whole = loaded.panel_influence(q)
    by_hand = loaded.influence(loaded.target_vectors(features)[:5], q).mean(0)
    np.testing.assert_allclose(whole, by_hand, atol=1e-6)
    np.testing.assert_array_equal(loaded.panel_influence(q[::-1])[::-1], whole)
    assert loaded.panel_influence(q[:0]).shape == (0,)


def test_values_do_not_depend_on_the_number_of_cores_by_one_bit(planter, monkeypatch):
    _, loaded, features = trained(planter)
    many = Features(np.tile(features.values, (20, 1)), features.names, features.dims)

    def run(threads):
        monkeypatch.setattr(cores, "cores", lambda: threads)
        p, q = loaded.target_vectors(many), loaded.source_vectors(many)
        return p, q, loaded.influence(p[:300], q), loaded.panel_influence(q)

    for alone, together in zip(run(1), run(4), strict=True):
        np.testing.assert_array_equal(together, alone)


def test_a_pair_does_not_depend_on_its_neighbours_by_one_bit(planter):
    # rank 300: matrix products cut long sums into pieces, differently for different shapes
    wide = Head("dot", 0.01, 0.0, np.zeros(300, np.float32))
    random = [drawn(planter, head) for head in (wide, relu_head())]
    for _, loaded, features in (trained(planter), *random):
        p, q = loaded.target_vectors(features), loaded.source_vectors(features)
        p, q = np.tile(p, (2, 1)), np.tile(q, (10, 1))
        whole = loaded.influence(p, q)
        np.testing.assert_array_equal(whole, np.tile(whole[:120, :120], (2, 10)))
        order = np.random.default_rng(0).permutation(len(q))
        np.testing.assert_array_equal(loaded.influence(p[5:77], q[order]), whole[5:77, order])
        for i, j in ((0, 0), (70, 1030), (239, 1199)):
            assert loaded.influence(p[i : i + 1], q[j : j + 1])[0, 0] == whole[i, j]


def test_a_relu_head_runs_fused_and_says_what_the_estimator_says(planter):
    estimator, loaded, features = drawn(planter, relu_head())
    assert loaded._fused is not None
    p, q = loaded.target_vectors(features), loaded.source_vectors(features)
    expected = estimator.predict(features.values, features.values)
    off = np.abs(loaded.influence(p, q) - expected) / np.maximum(1, np.abs(expected))
    assert off.max() < 2e-5  # towers and head are each within 1e-5
    np.testing.assert_allclose(loaded.panel_influence(q), expected[:5].mean(0), atol=2e-5)


@pytest.mark.parametrize("offset", [0.0, 0.25, -3e4])
def test_the_graph_tells_the_weights_of_its_head_exactly_whatever_the_offset(planter, offset):
    estimator, loaded, _ = drawn(planter, relu_head(offset))
    assert loaded._offset == np.float32(offset)
    weight = np.float32(0.7) * estimator.head.weight.astype(np.float64)
    np.testing.assert_allclose(loaded._relu_weight, weight, rtol=3e-7)


def test_the_graph_of_a_relu_head_says_what_the_fused_loops_say(planter):
    estimator, loaded, features = drawn(planter, relu_head())
    p, q = loaded.target_vectors(features), loaded.source_vectors(features)
    loaded._fused = None  # as on a GPU
    expected = estimator.predict(features.values, features.values)
    np.testing.assert_allclose(loaded.influence(p, q), expected, atol=2e-5)
    np.testing.assert_allclose(loaded.panel_influence(q), expected[:5].mean(0), atol=2e-5)


def test_a_dot_head_runs_through_the_graph(planter):
    assert trained(planter)[1]._fused is None


def test_a_relu_head_on_a_gpu_stays_there(planter):
    _, loaded, _ = drawn(planter, relu_head())
    loaded.provider = onnx_file.CUDA
    assert loaded._fused is None


def test_a_file_that_does_not_tell_its_panel_gives_the_same_means(planter):
    estimator, loaded, features = drawn(planter, relu_head())
    onnx = pytest.importorskip("onnx")
    content = export_onnx(
        estimator, fingerprints={}, panel=features.values[:5], panel_ids=tuple("abcde")
    )
    model = onnx.load_from_string(content)
    for told in [one for one in model.graph.output if one.name == "panel_vectors"]:
        model.graph.output.remove(told)
    silent = OnnxEstimator(model.SerializeToString(), device="cpu")
    assert silent._panel is None
    q = loaded.source_vectors(features)
    np.testing.assert_allclose(silent.panel_influence(q), loaded.panel_influence(q), atol=1e-6)


def test_another_embedder_is_refused_by_fingerprint_with_the_way_out(planter):
    _, loaded, features = trained(planter)
    loaded.check(features, FINGERPRINTS)
    with pytest.raises(Incompatible, match=r"(?s)'embedding' with fingerprint eee.*train again"):
        loaded.check(features, {**FINGERPRINTS, "embedding": "f" * 32})
    with pytest.raises(Incompatible, match="found none"):
        loaded.check(features, {"embedding": "e" * 32})


def test_features_of_another_width_are_refused(planter):
    _, loaded, _ = trained(planter)
    wide = Features.of(
        {"embedding": np.eye(13, dtype=np.float32), "lengths": np.ones((13, 2), "f")}
    )
    with pytest.raises(Incompatible, match="12 columns, found 13"):
        loaded.check(wide, FINGERPRINTS)
    with pytest.raises(Incompatible, match="found"):
        loaded.source_vectors(wide)
    with pytest.raises(Incompatible, match="width"):
        loaded.influence(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))


def test_a_foreign_onnx_file_is_refused(planter):
    onnx = pytest.importorskip("onnx")
    _, loaded, _ = trained(planter)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value], [out])
    opset = [onnx.helper.make_opsetid("", 18)]
    foreign = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    with pytest.raises(Incompatible, match="format none"):
        OnnxEstimator(foreign.SerializeToString(), device="cpu")
    assert loaded.metadata["network"] == "two-step-kernel-ridge"


def test_a_gpu_that_is_not_there_is_refused_when_required(planter):
    if onnx_file._driver_present():
        pytest.skip("this machine has an NVIDIA driver")
    estimator, _, features = trained(planter, "cosine")
    content = export_onnx(estimator, fingerprints={"embedding": "e" * 32})
    with pytest.raises(Incompatible, match="a GPU was asked for"):
        OnnxEstimator(content, device="gpu")
    assert OnnxEstimator(content).provider == "CPUExecutionProvider"
    assert len(features)


def test_falling_back_to_the_cpu_is_told(planter, monkeypatch, caplog):
    if onnx_file._driver_present():
        pytest.skip("this machine has an NVIDIA driver")
    estimator, _, _ = trained(planter, "cosine")
    content = export_onnx(estimator, fingerprints={"embedding": "e" * 32})
    monkeypatch.setattr(onnx_file, "_driver_present", lambda: True)
    with caplog.at_level(logging.WARNING):
        assert OnnxEstimator(content).provider == "CPUExecutionProvider"
    assert "continues on the CPU" in caplog.text


def test_an_estimator_without_panel_says_so(planter):
    estimator, _, features = trained(planter, "cosine")
    loaded = OnnxEstimator(export_onnx(estimator, fingerprints={}), device="cpu")
    with pytest.raises(Incompatible, match="no reference panel"):
        loaded.panel_influence(loaded.source_vectors(features))
