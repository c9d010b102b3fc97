"""The default engine, on the real all-MiniLM-L6-v2 and on a tiny model to take apart."""

from __future__ import annotations

import gzip
import json
import logging

import numpy as np
import pytest

from influence_store.embedding.onnx import OnnxEmbedder
from influence_store.embedding.session import CPU, CUDA, has_gpu, open_session
from influence_store.errors import Incompatible, InputError, NotFound
from influence_store.schema.identity import fingerprint
from influence_store.settings import cache_dir

LONG = "one and two " * 300
TEXTS = [
    "How do I bake bread without yeast?",
    "Which recipe makes a loaf if I have no yeast at home?",
    "def add(a, b): return a + b",
    "",
    "Zażółć gęślą jaźń — 数学 and emoji 🙂",
    LONG,
    "x",
    *(f"What is {k} times {k + 3}? " * (k % 5 + 1) for k in range(12)),
]


def test_meaning_decides_what_is_close(minilm):
    bread, loaf, code = minilm.encode(TEXTS[:3]).vectors
    assert bread @ loaf > 0.6 > 0.3 > bread @ code


def test_only_texts_over_the_limit_are_truncated(minilm):
    assert np.flatnonzero(minilm.encode(TEXTS).truncated).tolist() == [TEXTS.index(LONG)]


def test_text_of_exactly_the_limit_is_not_truncated(tiny, tiny_cache):
    embedder = OnnxEmbedder(tiny, cache=tiny_cache)
    # The limit of 12 holds 10 words between the two marks.
    found = embedder.encode(["apple " * 9, "apple " * 10, "apple " * 11, "apple " * 500])
    assert found.truncated.tolist() == [False, False, True, True]
    assert (found.vectors[1] == found.vectors[2]).all()


def test_row_depends_on_its_text_alone(minilm):
    together = minilm.encode(TEXTS).vectors
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = minilm.encode([TEXTS[k] for k in order]).vectors
    assert (shuffled == together[order]).all()
    alone = np.concatenate([minilm.encode([text]).vectors for text in TEXTS])
    assert (alone == together).all()


def test_batches_of_one_shape_do_not_mix_rows_either(minilm, minilm_folder):
    """The way of a GPU, on the CPU."""
    batched = OnnxEmbedder(minilm_folder, cache=cache_dir(), batch=4, threads=1)
    together = batched.encode(TEXTS).vectors
    assert (batched.encode(TEXTS[::-1]).vectors == together[::-1]).all()
    halves = [batched.encode(TEXTS[:7]).vectors, batched.encode(TEXTS[7:]).vectors]
    assert (np.concatenate(halves) == together).all()
    np.testing.assert_allclose(together, minilm.encode(TEXTS).vectors, atol=1e-6)
    assert batched.facts == minilm.facts


@pytest.mark.data
def test_every_real_text_has_the_vector_that_torch_gives_it(minilm, minilm_folder, data_folder):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    with gzip.open(data_folder / "alpaca_demo.jsonl.gz") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(16), strict=False)]
    texts = [f"{row['instruction']}\n##Answer: {row['output']}" for row in rows]
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder)
    model = transformers.AutoModel.from_pretrained(minilm_folder).eval()
    found = minilm.encode(texts)
    for text, vector, cut in zip(texts, found.vectors, found.truncated, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            expected = model(**tokens).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
        assert cut == (len(tokenizer(text, verbose=False).input_ids) > 256)


@pytest.mark.parametrize(
    "change",
    [
        {"template": "{prompt}"},
        {"prefix": "query: "},
        {"1_Pooling/config.json": '{"pooling_mode": "cls"}'},
        {"sentence_bert_config.json": '{"max_seq_length": 11}'},
        {"sentence_bert_config.json": '{"max_seq_length": 12, "do_lower_case": true}'},
        {"tokenizer.json": None},
    ],
)
def test_fingerprint_changes_with_each_fact(tiny, tiny_cache, change):
    before = fingerprint(OnnxEmbedder(tiny, cache=tiny_cache).facts)
    options = {}
    for name, value in change.items():
        file = tiny / name
        if file.is_file():
            # None: the same tokenizer with one word respelled
            file.write_text(value or file.read_text().replace('"apple"', '"apples"'))
        else:
            options[name] = value
    assert fingerprint(OnnxEmbedder(tiny, cache=tiny_cache, **options).facts) != before


def test_prefix_is_put_before_the_text(tiny, tiny_cache):
    plain = OnnxEmbedder(tiny, cache=tiny_cache)
    prefixed = OnnxEmbedder(tiny, cache=tiny_cache, prefix="answer ")
    assert (prefixed.encode(["two"]).vectors == plain.encode(["answer two"]).vectors).all()


def test_model_that_gives_nan_is_stopped_at_the_text(tiny, tmp_path):
    words = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    words[16] = np.nan  # "two", the last word of the tiny vocabulary
    # The parity check would refuse such weights at export, so the graph is handed in.
    (tiny / "model.onnx").write_bytes(_graph_of(words))
    embedder = OnnxEmbedder(tiny, cache=tmp_path)
    assert np.isfinite(embedder.encode(["one apple"]).vectors).all()
    with pytest.raises(InputError, match="vector of text 2 is not finite"):
        embedder.encode(["one", "apple", "two"])


def test_graph_with_other_inputs_or_outputs_is_refused(tiny, tmp_path):
    words = np.ones((20, 4), np.float32)
    (tiny / "model.onnx").write_bytes(_graph_of(words, name="pixels"))
    with pytest.raises(Incompatible, match="takes pixels"):
        OnnxEmbedder(tiny, cache=tmp_path)
    (tiny / "model.onnx").write_bytes(_graph_of(words, pooled=True))
    with pytest.raises(Incompatible, match="one vector per token"):
        OnnxEmbedder(tiny, cache=tmp_path)
    (tiny / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(Incompatible, match="cannot load"):
        OnnxEmbedder(tiny, cache=tmp_path)


def test_folder_that_is_no_model_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="not a model folder"):
        OnnxEmbedder(tmp_path, cache=tmp_path)


@pytest.mark.skipif(has_gpu(), reason="the fall back to the CPU needs a machine without a GPU")
class TestWithoutGpu:
    @pytest.fixture
    def graph(self, tiny):
        path = tiny / "model.onnx"
        path.write_bytes(_graph_of(np.ones((20, 4), np.float32)))
        return path

    def test_falling_back_to_the_cpu_is_said_aloud(self, graph, caplog):
        with caplog.at_level(logging.WARNING):
            session = open_session(graph, gpu=True)
        assert session.get_providers() == [CPU]
        assert f"asked ONNX Runtime for {CUDA}, got {CPU}" in caplog.text

    def test_required_gpu_that_is_missing_is_an_error(self, graph):
        with pytest.raises(Incompatible, match=f"{CUDA}, got {CPU}"):
            open_session(graph, require_gpu=True)

    def test_a_machine_without_a_gpu_is_no_reason_to_warn(self, graph, caplog):
        open_session(graph)
        assert not caplog.records


def _graph_of(words, *, name="input_ids", pooled=False):
    """A graph that looks words up in a table (v, d), and no more."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    out = ["n", words.shape[1]] if pooled else ["n", "length", words.shape[1]]
    nodes = [helper.make_node("Gather", ["words", name], ["looked_up" if pooled else "out"])]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["looked_up", "axes"], ["out"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(words, "words"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
