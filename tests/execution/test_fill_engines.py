"""`fill`: the same blocks and the same report, whoever runs the estimator."""

from __future__ import annotations

import pytest
from shop import Deadly, contents, with_rows

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.execution import LOCAL
from influence_store.jobs import fill as fill_job
from influence_store.jobs.budget import Budget
from influence_store.jobs.embed import embed
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.fill import fill
from influence_store.jobs.gc import gc
from influence_store.jobs.label import label
from influence_store.jobs.llm_state import label_states
from influence_store.jobs.methods import ModelChoice
from influence_store.jobs.train import train
from influence_store.jobs.train_report import TrainOptions
from influence_store.jobs.verify_store import verify_store
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = pytest.mark.xdist_group("ray")
pytest.importorskip("onnx", reason="pip install 'influence-store[train]'")
ROWS, TOO_LONG, SHARDS = 48, 2, 6


@pytest.fixture
def twins(cluster, store, copy_store, tmp_path, tiny_llm, monkeypatch):
    """A store with an estimator of pairs and one of scores, which reads LLM states; its copy."""
    monkeypatch.setattr(fill_job, "CHUNK_ROWS", 8)
    with_rows(store, ROWS, tmp_path, too_long=TOO_LONG)
    version, choice = store.version("demo"), ModelChoice(str(tiny_llm))
    embed(store, version, HashingEmbedder(16), "hashing:16")
    label(store, version, ["delift"], choice, Budget(pairs=600))
    label(store, version, ["perplexity"], choice, Budget(share=1.0))
    label_states(store, version, str(tiny_llm), cache=tmp_path / "cache")
    pairs = TrainOptions(networks=["two-step-kernel-ridge"], name="of-pairs")
    train(store, version, version, "delift", pairs)
    scores = TrainOptions(networks=["ridge"], features="llm", name="of-scores")
    train(store, version, version, "perplexity", scores)
    copied = Store.open(copy_store(store.uri, tmp_path / "copy"), __version__)
    yield store, copied
    copied.database.close()


def filled(store, executor=LOCAL):
    version = store.version("demo")
    return [
        fill(store, version, find_estimator(store, name), executor)
        for name in ("of-pairs", "of-scores")
    ]


def test_cells_are_the_same_blocks_and_a_killed_worker_loses_nothing(twins, cluster, lethal):
    here, there = twins
    reports = filled(here)
    assert filled(there, Deadly(cluster, lethal(1))) == reports
    assert [(report.filled, report.null) for report in reports] == [(ROWS, 0), (ROWS, TOO_LONG)]
    assert {report.provider for report in reports} == {"CPUExecutionProvider"}
    assert len(contents(here, "estimate")) == 2 * SHARDS
    assert contents(here, "estimate") == contents(there, "estimate")
    assert verify_store(there, deep=True).leftover_files > 0
    gc(there, grace=0, act=True)
    after = verify_store(there, deep=True)
    assert (after.problems, after.leftover_files) == ([], 0)
    assert [report.reused for report in filled(there, cluster)] == [ROWS, ROWS]
