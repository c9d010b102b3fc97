"""From a word on the command line to an embedder."""

from __future__ import annotations

import subprocess
import sys

import pytest

from influence_store.embedding import EMBEDDERS, absolute_spec, open_embedder
from influence_store.errors import NotFound, UsageError


def test_hashing_needs_nothing_and_may_name_its_dimension(tmp_path):
    assert open_embedder("hashing", cache=tmp_path).dim == 384
    assert open_embedder("hashing:32", cache=tmp_path).dim == 32
    assert not list(tmp_path.iterdir())


def test_folder_is_opened_by_the_onnx_engine(tiny, tiny_cache):
    plain = open_embedder(str(tiny), cache=tiny_cache)
    named = open_embedder(f"onnx:{tiny}", cache=tiny_cache)
    assert plain.name == "tiny-bert"
    assert plain.facts == named.facts
    assert plain.facts["engine"] == "onnx"


def test_template_reaches_the_facts(tmp_path):
    embedder = open_embedder("hashing", cache=tmp_path, template="{response}")
    assert embedder.facts["template"] == "{response}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hashin", "did you mean hashing"),
        ("nothing-like-it", "known: hashing, onnx, sentence-transformers"),
        ("./no/such/folder", "no folder ./no/such/folder"),
        ("onnx:./no/such", "no folder ./no/such"),
    ],
)
def test_unknown_embedder_is_not_found(spec, message, tmp_path):
    with pytest.raises(NotFound, match=message):
        open_embedder(spec, cache=tmp_path)


def test_file_instead_of_folder_names_the_folder(tmp_path):
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(NotFound, match=f"--embedder {tmp_path}"):
        open_embedder(str(file), cache=tmp_path)


@pytest.mark.parametrize("spec", ["onnx", "sentence-transformers:", "hashing:1", "hashing:many"])
def test_half_a_spec_is_a_usage_error(spec, tmp_path):
    with pytest.raises(UsageError):
        open_embedder(spec, cache=tmp_path)


def test_bad_template_or_needless_prefix_is_refused_before_any_model_is_read(tmp_path):
    with pytest.raises(UsageError, match="template"):
        open_embedder("./no/such/folder", cache=tmp_path, template="{text}")
    with pytest.raises(UsageError, match="takes no prefix"):
        open_embedder("hashing", cache=tmp_path, prefix="query: ")


def test_hub_id_without_a_way_to_the_hub_says_how_to_bring_the_model(tmp_path):
    pytest.importorskip("huggingface_hub")
    program = (
        "import sys; from pathlib import Path\n"
        "from influence_store.embedding import open_embedder\n"
        "from influence_store.errors import StorageError\n"
        "try: open_embedder('some-org/some-model', cache=Path(sys.argv[1]))\n"
        "except StorageError as error: print(error)"
    )
    # A process of its own: the hub client reads this variable once, when it is imported.
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path), "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hf download some-org/some-model --local-dir model" in done.stdout
    assert not list(tmp_path.rglob(".complete"))


def test_listing_the_embedders_imports_none():
    program = (
        "import sys; from influence_store.embedding import EMBEDDERS; EMBEDDERS.entries()\n"
        "print(sorted({'torch', 'onnxruntime', 'tokenizers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert set(EMBEDDERS.builtin) == {"onnx", "sentence-transformers", "hashing"}


def test_a_folder_is_remembered_by_its_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_spec("model") == f"onnx:{tmp_path / 'model'}"
    assert absolute_spec("sentence-transformers:./model") == (
        f"sentence-transformers:{tmp_path / 'model'}"
    )
    assert absolute_spec("hashing:32") == "hashing:32"
    assert absolute_spec("org/model") == "org/model"


def test_a_linked_folder_is_remembered_by_the_name_that_was_given(tmp_path, monkeypatch):
    """What `ingest` opens later must be the embedder that `embed` opened, name and all."""
    (tmp_path / "hidden" / "model").mkdir(parents=True)
    (tmp_path / "mini").symlink_to(tmp_path / "hidden" / "model")
    monkeypatch.chdir(tmp_path)
    assert absolute_spec("mini") == f"onnx:{tmp_path / 'mini'}"
