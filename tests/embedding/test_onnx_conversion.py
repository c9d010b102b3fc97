"""From weights to an ONNX graph, once, and checked against torch."""

from __future__ import annotations

import json
import shutil

import pytest

from influence_store.embedding import convert
from influence_store.embedding.convert import TOLERANCE, find_graph
from influence_store.errors import Incompatible, NotFound


def test_graph_agrees_with_torch_and_says_how_closely(tiny, tmp_path):
    graph = find_graph(tiny, tmp_path / "cache")
    note = json.loads((graph.path.parent / "source.json").read_text())
    assert 0 <= note["max_difference_to_torch"] <= TOLERANCE
    assert graph.weights.endswith(note["source"])
    assert not list(graph.path.parent.parent.glob("*.part-*"))


def test_second_call_exports_nothing(tiny, tmp_path):
    first = find_graph(tiny, tmp_path / "cache")
    written = first.path.stat().st_mtime_ns
    assert find_graph(tiny, tmp_path / "cache") == first
    assert first.path.stat().st_mtime_ns == written


def test_two_machines_agree_on_the_identity(tiny, tmp_path):
    here, there = find_graph(tiny, tmp_path / "here"), find_graph(tiny, tmp_path / "there")
    assert here.path != there.path
    assert here.weights == there.weights


def test_changed_weights_or_architecture_are_another_identity(tiny, tmp_path, tiny_cache):
    before = find_graph(tiny, tiny_cache).weights
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert find_graph(tiny, tmp_path / "cache").weights != before


def test_damaged_cache_is_noticed_and_made_again(tiny, tmp_path, caplog):
    graph = find_graph(tiny, tmp_path / "cache")
    good = graph.path.read_bytes()
    graph.path.write_bytes(good[:-20] + bytes(20))
    assert find_graph(tiny, tmp_path / "cache") == graph
    assert graph.path.read_bytes() == good
    assert "damaged" in caplog.text


def test_graph_that_differs_from_torch_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "TOLERANCE", -1.0)
    with pytest.raises(Incompatible, match="differs from torch"):
        find_graph(tiny, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "onnx").iterdir())


def test_graph_in_the_folder_is_known_by_its_own_bytes(tiny, tmp_path, tiny_cache):
    made = find_graph(tiny, tiny_cache).path
    (tiny / "onnx").mkdir()
    shutil.copy(made, tiny / "onnx" / "model.onnx")
    inside = find_graph(tiny, tmp_path / "unused")
    assert inside.path == tiny / "onnx" / "model.onnx"
    (tiny / "onnx" / "model.onnx_data").write_bytes(b"more weights")
    assert find_graph(tiny, tmp_path / "unused").weights != inside.weights
    assert not (tmp_path / "unused").exists()


def test_pickled_weights_are_never_loaded(tiny, tmp_path):
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(NotFound, match=r"pytorch_model.bin[\s\S]*never loaded"):
        find_graph(tiny, tmp_path / "cache")
