"""`report --atlas` hands over to Embedding Atlas, or says at once that it is not there."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from influence_store.errors import MissingExtra, UsageError

INSTALLED = find_spec("embedding_atlas") is not None


@pytest.mark.skipif(INSTALLED, reason="it is installed here")
def test_without_it_the_line_that_brings_it_is_told_before_anything_is_written(
    stages, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = stages.copy_after("select", tmp_path / "store")
    with pytest.raises(MissingExtra, match=r"influence-store\[atlas\]"):
        run("report", "demo", "--atlas", "atlas")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(not INSTALLED, reason="pip install 'influence-store[atlas]', which is heavy")
def test_its_pages_hold_every_sample(stages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = stages.copy_after("select", tmp_path / "store")
    told = run.json("report", "demo", "--atlas", "atlas")
    assert told["atlas"] == {"path": "atlas", "samples": told["contents"]["rows"]}
    assert (tmp_path / "atlas" / "index.html").is_file()
    assert not (tmp_path / "atlas.part").exists()
    with pytest.raises(UsageError, match="there already"):
        run("report", "demo", "--atlas", "atlas")
