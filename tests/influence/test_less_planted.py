"""Two tasks in one pool: does LESS find the rows of the task that the targets come from?"""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from influence_store.influence.checkpoints import Recipe
from influence_store.influence.less import Less
from influence_store.schema.sample import Sample

pytestmark = [pytest.mark.llm, pytest.mark.data, pytest.mark.slow]

FILES = {"arithmetic": "gsm8k_train.jsonl.gz", "general": "alpaca_demo.jsonl.gz"}
N_POOL, N_TARGETS = 12, 3  # of each task


@pytest.fixture(scope="module")
def tasks(data_folder):
    """Rows of about the same length, so that length cannot tell the tasks apart."""
    rng = np.random.default_rng(0)
    picked = {}
    for task, name in FILES.items():
        with gzip.open(data_folder / name, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        samples = [
            Sample.of(f"{row['instruction']}\n{row['input']}".strip(), row["output"])
            for row in rows
            if 150 <= len(row["instruction"] + row["input"] + row["output"]) <= 205
        ]
        order = rng.permutation(len(samples))[: N_POOL + N_TARGETS]
        picked[task] = [samples[k] for k in order]
    return picked


@pytest.fixture(scope="module")
def scores(small, tasks):
    """Task of the targets → (N_TARGETS, 2 · N_POOL), arithmetic sources first."""
    pytest.importorskip("peft", reason="the train extra is not installed")
    from influence_store.influence.lora import LoraLm

    pool = [sample for task in FILES for sample in tasks[task][:N_POOL]]
    learner = LoraLm(small)
    warm_up = [learner.read(sample) for sample in pool[::6]]
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=2e-4, n_checkpoints=1)
    method = Less(learner, learner.train(warm_up, recipe))
    sources = method.vectors(pool, "source").vectors
    return {
        task: method.vectors(tasks[task][N_POOL:], "target").vectors @ sources.T for task in FILES
    }


def test_top_tenth_comes_from_the_task_of_the_targets_and_random_does_not(scores):
    # One test for both directions: the gradients cost half a minute, and workers share nothing.
    for task in FILES:
        is_right = np.repeat([task == "arithmetic", task == "general"], N_POOL)
        value = scores[task].mean(axis=0)
        n_top = len(value) // 10
        share = is_right[np.argsort(-value)[:n_top]].mean()
        draws = np.random.default_rng(0).permuted(np.tile(is_right, (1000, 1)), axis=1)
        random = draws[:, :n_top].mean()
        auc = np.mean(value[is_right][:, None] > value[~is_right])
        print(f"targets {task}: LESS {share:.2f} of the top tenth, random {random:.2f}, {auc:.3f}")
        assert share >= 0.9
        assert 0.45 < random < 0.55
        # A random order of 24 passes an AUC of .75 once in 50 times, both orders in 2,500.
        assert auc > 0.75
