from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from influence_store.influence.delift import Delift
from influence_store.influence.formulas import rms_miss
from influence_store.influence.scorer import Request, ResponseScorer

pytestmark = pytest.mark.llm


def test_prefix_cache_equals_the_plain_forward_on_56_real_pairs(small, short_samples):
    cached = Delift(small, max_response_tokens=8)
    plain = Delift(small, max_response_tokens=8, prefix_cache=False)
    targets, sources = short_samples[:8], short_samples[8:]
    state = cached.prepare(targets)
    at = np.arange(len(targets))
    for source in sources:
        ours, theirs = cached.score(state, source, at), plain.score(state, source, at)
        assert np.isfinite(ours["delift-l2"]).all()
        assert np.ptp(ours["delift-l2"]) > 1e-3
        np.testing.assert_allclose(ours["delift-l2"], theirs["delift-l2"], atol=1e-5)
        np.testing.assert_allclose(ours["delift-kl"], theirs["delift-kl"], atol=1e-5)


@pytest.mark.data
def test_scorer_reproduces_the_values_of_another_implementation(small, delift_labels):
    """Chat turns instead of the DELIFT template; the same primitive, the same distance."""
    values = np.load(delift_labels / "delift_A.npz")
    with gzip.open(delift_labels / "delift_A_pool.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    tokens = small.tokenizer
    scorer = ResponseScorer(small)

    def marked(text):
        return np.asarray(tokens(text, add_special_tokens=False)["input_ids"], np.int64)

    def turn(k):
        return marked(f"<|im_start|>user\n{rows[k]['prompt']}<|im_end|>\n<|im_start|>assistant\n")

    def response(k):
        answer = [*rows[k]["resp_ids"], small.eos_id]
        return np.asarray(answer[: int(values["n_tokens"][k])], np.int64)

    j = int(np.argmax(np.isfinite(values["utility"]).sum(0)))
    targets = [i for i in np.flatnonzero(np.isfinite(values["utility"][:, j])) if i != j][:12]
    example = np.concatenate([turn(j), rows[j]["resp_ids"], marked("<|im_end|>\n")])
    requests = [Request(turn(i), response(i)) for i in targets]
    d0 = np.array([rms_miss(one.logp) for one in scorer.score(requests)])
    shown = scorer.score(requests, prefix=scorer.prefill(example.astype(np.int64)))
    d1 = np.array([rms_miss(one.logp) for one in shown])
    np.testing.assert_allclose(d0, values["d0"][targets], atol=1e-5)
    np.testing.assert_allclose(d0 - d1, values["utility"][targets, j], atol=1e-5)
