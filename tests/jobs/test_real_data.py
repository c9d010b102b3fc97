"""The issue's own numbers on real data: 500 new, 200 removed and 300 repeated rows."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from importlib.util import find_spec

import pytest
from tiny_llm import write_tiny_llm

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.influence.scorer import ResponseScorer

NEW, REMOVED, REPEATED = 500, 200, 300


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="needs influence-store[train]")
def test_a_second_version_of_8000_rows_costs_500_embeddings_and_500_fills(
    data_folder, tmp_path, open_cli, monkeypatch
):
    lines = []
    for name in ("gsm8k_train", "alpaca_demo"):
        with gzip.open(data_folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            lines += file.readlines()
    random.Random(0).shuffle(lines)
    new, old = lines[:NEW], lines[NEW:]
    (tmp_path / "v1.jsonl").write_text("".join(old))
    (tmp_path / "v2.jsonl").write_text("".join(new + old[:REPEATED]))
    (tmp_path / "gone.jsonl").write_text("".join(old[-REMOVED:]))

    # It reads bytes, so real texts are long for it; the longest stay unscored, as null.
    llm = str(write_tiny_llm(tmp_path / "llm", max_len=2048))
    run = open_cli(tmp_path / "store")
    run("init")
    first = run.json("ingest", str(tmp_path / "v1.jsonl"), "--dataset", "mix")
    assert (first["rows"], first["duplicates"], first["rejected"]) == (len(old), 0, 0)
    run("embed", "mix", "--embedder", "hashing:64")
    run("label", "mix", "--model", llm, "--pairs", "1000", "--max-response-tokens", "8")
    run("train", "mix", "--network", "two-step-kernel-ridge")
    assert run.json("fill", "mix")["filled"] == len(old)

    embedded, passes = Counter(), Counter()
    encode, score = HashingEmbedder.encode, ResponseScorer.score
    monkeypatch.setattr(
        HashingEmbedder,
        "encode",
        lambda self, texts: (embedded.update(texts), encode(self, texts))[1],
    )
    monkeypatch.setattr(
        ResponseScorer,
        "score",
        lambda self, *args, **kw: (passes.update(n=1), score(self, *args, **kw))[1],
    )
    before = run.blocks()
    second = run.json("ingest", str(tmp_path / "v2.jsonl"), "--dataset", "mix",
                      "--removed", str(tmp_path / "gone.jsonl"))  # fmt: skip

    assert second["plan"] == {"embeddings": NEW, "fills": NEW, "llm_passes": 0, "waiting": {}}
    assert embedded.total() == len(embedded) == NEW
    assert not passes
    assert (second["new"], second["removed"], second["repeated"]) == (NEW, REMOVED, REPEATED)
    assert second["rows"] == len(old) + NEW - REMOVED
    assert before.items() <= run.blocks().items()
    (told,) = run.json("query", "select count(*) n, count(est_delift_l2) filled from mix")
    assert told == {"n": second["rows"], "filled": second["rows"]}
    assert json.dumps(second)  # one document
