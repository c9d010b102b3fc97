"""Models and arrays that are broken or would run code: rows 58 and 59 of the bad-input table."""

from __future__ import annotations

import io
import json
import os
import random

import numpy as np
import orjson
import pytest
from foreign_scores import imported

from influence_store.embedding.onnx import OnnxEmbedder
from influence_store.errors import Incompatible, InfluenceStoreError
from influence_store.network.features import Features
from influence_store.network.onnx_estimator import OnnxEstimator
from influence_store.network.score_onnx import OnnxScores
from influence_store.schema.estimator import SCORE_FORMAT

onnx = pytest.importorskip("onnx", reason="pip install 'influence-store[train]'")
helper, Proto = onnx.helper, onnx.TensorProto

FACTS = {
    "format": SCORE_FORMAT,
    "network": "odd",
    "features": ["embedding"],
    "dims": [4],
    "fingerprints": {},
    "facts": {},
}
ROWS = Features(np.ones((3, 4), np.float32), ("embedding",), (4,))


def tensor(name, values):
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def outside(location: str):
    """Four numbers that lie in another file."""
    made = Proto(name="w", data_type=Proto.FLOAT, dims=[4], data_location=Proto.EXTERNAL)
    made.external_data.add(key="location", value=location)
    return made


def graph(nodes, inputs, outputs, tensors=(), *, facts=FACTS, opset=18, ir=9) -> bytes:
    def told(names):
        return [helper.make_tensor_value_info(name, *kind) for name, kind in names.items()]

    whole = helper.make_graph(nodes, "g", told(inputs), told(outputs), list(tensors))
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    helper.set_model_props(model, {key: orjson.dumps(v).decode() for key, v in facts.items()})
    return model.SerializeToString()


IN, OUT = {"features": (Proto.FLOAT, ["n", 4])}, {"score": (Proto.FLOAT, ["n"])}
SUM = helper.make_node("ReduceSum", ["features", "one"], ["score"], keepdims=0)
ONE = tensor("one", [1])
GOOD = graph([SUM], IN, OUT, [ONE])


def weighed(w) -> list:
    """Nodes of Σ features · w, and their tensors."""
    product = helper.make_node("Mul", ["features", "w"], ["p"])
    return [product, helper.make_node("ReduceSum", ["p", "one"], ["score"], keepdims=0)], [ONE, w]


def weighed_graph(w) -> bytes:
    nodes, tensors = weighed(w)
    return graph(nodes, IN, OUT, tensors)


BAD_SCORES = {
    "empty": (b"", "cannot load"),
    "random": (random.Random(0).randbytes(999), "cannot load"),
    "truncated": (GOOD[:-1], "cannot load"),
    "half": (GOOD[: len(GOOD) // 2], "cannot load|has format none"),
    "not ours": (graph([SUM], IN, OUT, [ONE], facts={}), "has format none, expected"),
    "says nothing": (
        graph([SUM], IN, OUT, [ONE], facts={"format": SCORE_FORMAT}),
        "does not say what it reads: 'network'",
    ),
    "says nonsense": (
        graph([SUM], IN, OUT, [ONE], facts={**FACTS, "dims": "x"}),
        "does not say what it reads: dims",
    ),
    "other names": (
        graph(
            [helper.make_node("ReduceSum", ["x", "one"], ["y"], keepdims=0)],
            {"x": IN["features"]},
            {"y": OUT["score"]},
            [ONE],
        ),
        "has no features, score",
    ),
    "other input shape": (
        graph([SUM], {"features": (Proto.FLOAT, ["n", 7])}, OUT, [ONE]),
        "the graph of estimator 'odd' fails: .*invalid dimensions",
    ),
    "other output shape": (
        graph([helper.make_node("Identity", ["features"], ["score"])], IN,
              {"score": IN["features"]}),
        r"gives values of shape \(256, 4\), expected \(256,\)",
    ),
    "opset from the future": (graph([SUM], IN, OUT, [ONE], opset=99), "cannot load"),
    "format from the future": (graph([SUM], IN, OUT, [ONE], ir=99), "cannot load"),
    "unknown operator": (
        graph([helper.make_node("Evil", ["features"], ["score"], domain="x")], IN, OUT),
        "cannot load",
    ),
    "NaN": (weighed_graph(tensor("w", np.full(4, np.nan, np.float32))), "gives NaN or infinity"),
    "infinity": (weighed_graph(tensor("w", np.full(4, np.inf, np.float32))), "gives NaN or infin"),
    "huge output": (
        graph([helper.make_node("ConstantOfShape", ["size"], ["score"])], IN, OUT,
              [tensor("size", [1 << 42])]),
        "the graph of estimator 'odd' fails",
    ),
    **{
        f"data outside: {where}": (weighed_graph(outside(where)), "keeps data outside itself")
        for where in ("../secret.bin", "/etc/passwd", "beside.bin")
    },
}  # fmt: skip


def test_the_graph_that_the_bad_ones_come_from_is_good():
    scores = OnnxScores(GOOD)
    scores.check(ROWS, {})
    assert scores.scores(ROWS).tolist() == [4.0, 4.0, 4.0]
    assert OnnxScores(weighed_graph(tensor("w", np.ones(4, np.float32)))).scores(ROWS).sum() == 12


@pytest.mark.parametrize("case", BAD_SCORES)
def test_an_estimator_that_is_broken_is_incompatible(tmp_path, monkeypatch, case):
    content, told = BAD_SCORES[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.bin").write_bytes(np.ones(4, np.float32).tobytes())
    with pytest.raises(Incompatible, match=told) as caught:
        OnnxScores(content).scores(ROWS)
    assert "train it again" in str(caught.value)


@pytest.mark.parametrize(
    "case", ["empty", "random", "truncated", "not ours", "data outside: beside.bin"]
)
def test_the_same_holds_for_estimators_of_pairs(case):
    content, told = BAD_SCORES[case]
    with pytest.raises(Incompatible, match=told):
        OnnxEstimator(content)


def test_an_estimator_that_was_changed_is_refused_before_it_is_parsed(trial):
    """One flipped bit in the weights loads without an error; its hash does not."""
    (artifact,) = (path for path in (trial.holdings / "objects").rglob("*") if path.is_file())
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    path = trial.file("a.jsonl", '{"instruction": "new", "output": "row"}\n')
    assert trial("ingest", path, "--dataset", "more", "--no-fill").code == 0
    assert trial("embed", "more", "--embedder", "hashing:16").code == 0
    said = trial("fill", "more")
    assert said.code == 7
    assert "was changed after it was stored" in said.err


# -- embedders -----------------------------------------------------------------------------------

TOKENS = {name: (Proto.INT64, ["b", "n"]) for name in ("input_ids", "attention_mask")}
HIDDEN = {"h": (Proto.FLOAT, ["b", "n", 4])}
WIDE = [
    helper.make_node("Cast", ["input_ids"], ["f"], to=Proto.FLOAT),
    helper.make_node("Unsqueeze", ["f", "two"], ["u"]),
]
TWO = tensor("two", [2])


def embedding(operator: str, w, outputs=HIDDEN, **more) -> bytes:
    nodes = [*WIDE, helper.make_node(operator, ["u", "w"], ["h"])]
    return graph(nodes, TOKENS, outputs, [TWO, w], facts={}, **more)


def all_of(value: float):
    return tensor("w", np.full(4, value, np.float32))


RIGHT = embedding("Add", all_of(1))
BAD_GRAPHS = {
    "empty": (b"", 8, "cannot load"),
    "random": (random.Random(0).randbytes(999), 8, "cannot load"),
    "truncated": (RIGHT[:-1], 8, "cannot load"),
    "opset from the future": (embedding("Add", all_of(1), opset=99), 8, "cannot load"),
    "NaN": (embedding("Add", all_of(np.nan)), 3, "the vector of text 0 is not finite"),
    "zeros": (embedding("Mul", all_of(0)), 3, "the vector of text 0 is all zero"),
    "other inputs": (
        graph([helper.make_node("Identity", ["x"], ["h"])], {"x": HIDDEN["h"]}, HIDDEN, facts={}),
        8,
        "takes x; expected input_ids",
    ),
    "one number per token": (
        graph([helper.make_node("Cast", ["input_ids"], ["h"], to=Proto.FLOAT)], TOKENS,
              {"h": (Proto.FLOAT, ["b", "n"])}, facts={}),
        8,
        "expected one vector per token",
    ),
    "huge output": (
        graph([helper.make_node("ConstantOfShape", ["size"], ["h"])], TOKENS, HIDDEN,
              [tensor("size", [1 << 20, 1 << 20, 4])], facts={}),
        8,
        "the graph of .* fails",
    ),
    **{
        f"data in {where}": (embedding("Add", outside(where)), 8, "expected model.onnx_data beside")
        for where in ("../secret.bin", "/etc/passwd", "beside.bin", "a/../../b")
    },
    "data that is not there": (embedding("Add", outside("model.onnx_data")), 8, "cannot load"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A model folder that lacks its graph."""
    from tokenizers import Tokenizer, models

    path = tmp_path / "model"
    (path / "1_Pooling").mkdir(parents=True)
    words = models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")
    Tokenizer(words).save(str(path / "tokenizer.json"))
    (path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return path


def encode(folder, content: bytes):
    (folder / "model.onnx").write_bytes(content)
    return OnnxEmbedder(folder, cache=folder / "cache", threads=1).encode(["a", "b"]).vectors


def test_the_folder_that_the_bad_ones_come_from_is_good(folder):
    assert np.allclose(np.linalg.norm(encode(folder, RIGHT), axis=1), 1)
    (folder / "model.onnx_data").write_bytes(np.ones(4, np.float32).tobytes())
    assert encode(folder, embedding("Add", outside("model.onnx_data"))).shape == (2, 4)


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_a_graph_that_is_broken_is_refused_and_leaves_no_trace(trial, folder, case):
    content, code, told = BAD_GRAPHS[case]
    (folder / "model.onnx").write_bytes(content)
    (folder / "beside.bin").write_bytes(np.ones(4, np.float32).tobytes())
    trial.refused(code, told, "embed", "pool", "--embedder", folder)


def test_data_behind_a_link_that_leaves_the_folder_is_not_read(folder):
    secret = folder.parent / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    os.symlink(secret, folder / "model.onnx_data")
    with pytest.raises(Incompatible, match="cannot load"):
        encode(folder, embedding("Add", outside("model.onnx_data")))


SETTINGS = {
    "tokenizer.json": ["", "{", "[]", "\xff"],
    "1_Pooling/config.json": ["{", "[]", '{"pooling_mode": 3}', '{"pooling_mode": "sum"}'],
    "modules.json": ["{", "[1]", '{"a": 1}', '[{"type": "x.Dense"}]'],
    "sentence_bert_config.json": ["{", '{"max_seq_length": "x"}', '{"max_seq_length": -3}'],
    "config_sentence_transformers.json": ['{"prompts": 3, "default_prompt_name": "a"}'],
    "config.json": ['{"pad_token_id": "x"}', "[]"],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_model_that_are_none_are_incompatible(folder, name):
    for content in SETTINGS[name]:
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_text(content, "latin-1")
        with pytest.raises(Incompatible):
            encode(folder, RIGHT)
        (folder / name).unlink()
        if kept is not None:
            (folder / name).write_bytes(kept)
    assert encode(folder, RIGHT).shape == (2, 4)


# -- pickles -------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, path) -> None:
        self._path = path

    def __reduce__(self):
        return open, (str(self._path), "w")


def saved_by_torch(bomb) -> bytes:
    torch = pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    buffer = io.BytesIO()
    torch.save({"scores": bomb}, buffer)
    return buffer.getvalue()


def saved_by_numpy(bomb):
    return np.array([[bomb]], object)


def pickled(bomb) -> bytes:
    """As joblib and pickle write it: numpy's form without its header."""
    buffer = io.BytesIO()
    np.save(buffer, saved_by_numpy(bomb), allow_pickle=True)
    content = buffer.getvalue()
    return content[content.index(b"\x80") :]


@pytest.mark.parametrize("save", [saved_by_torch, saved_by_numpy, pickled])
def test_a_file_that_would_run_code_is_forbidden_and_runs_none(trial, save):
    executed = trial.folder / "executed"
    command = imported(trial, "pairwise", save(Bomb(executed)))
    said = trial.refused(9, "would run code while it is read .*: refused", *command)
    assert "weights_only" not in said.err  # torch advises to switch the guard off
    assert not executed.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_file_that_is_no_tensor_is_bad_data(trial, content):
    told = "cannot read .*scores.pt as tensors only\n  save it again"
    trial.refused(3, told, *imported(trial, "pairwise", content))


def test_a_receipt_of_something_else_is_none(trial):
    for content in (b"", b"\x80\x04pickle", b"[]", json.dumps({"format": "x"}).encode()):
        path = trial.file("selection.lock", content)
        trial.refused(
            3, "selection.lock (cannot be read|is not a receipt)", "verify", "--selection", path
        )


def test_every_error_above_has_an_exit_code_of_its_own():
    assert issubclass(Incompatible, InfluenceStoreError)
    assert Incompatible.exit_code == 8
