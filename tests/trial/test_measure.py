"""Loss, ROUGE-L and the final answer, each against a definition written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from influence_store.schema.sample import Sample
from influence_store.trial.collate import Collator
from influence_store.trial.finetune import tuned
from influence_store.trial.measure import exact, final_answer, response_losses, rouge_l


def test_the_loss_is_the_mean_over_the_response_in_whatever_batch(tiny):
    collator = Collator(tiny, 300)
    rows = [collator.encode(Sample.of("q" * (5 * n), "r" * n)) for n in (2, 40, 9, 17)]
    with tuned(collator, None, 0) as model:
        together = response_losses(model, rows)
    for row, found in zip(rows, together, strict=True):
        ids = torch.from_numpy(np.concatenate([row.prompt, row.response]))[None]
        with torch.no_grad():
            logp = tiny.model(input_ids=ids).logits[0].log_softmax(-1)
        places = range(len(row.prompt) - 1, ids.shape[1] - 1)
        expected = -np.mean([float(logp[t, ids[0, t + 1]]) for t in places])
        assert found == pytest.approx(expected, rel=1e-5)


def lcs(a, b):
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + lcs(a[:-1], b[:-1])
    return max(lcs(a[:-1], b), lcs(a, b[:-1]))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("the cat sat", "the cat sat"),
        ("the cat", "the big cat sat down"),
        ("Grüße, Welt!", "grüße welt"),
        ("собака лает", "лает собака"),
        ("b a c d", "a b d c e"),
    ],
)
def test_rouge_l_is_the_f1_of_the_common_subsequence_in_any_script(written, expected):
    a, b = ([w.strip(",!") for w in text.lower().split()] for text in (written, expected))
    common = lcs(a, b)
    f1 = 2 * common / (len(a) + len(b))
    assert rouge_l(written, expected) == pytest.approx(f1)


def test_rouge_l_of_nothing_is_zero():
    assert rouge_l("", "word") == rouge_l("word", "") == rouge_l("...", "word") == 0


@pytest.mark.parametrize(
    ("written", "expected", "right"),
    [
        ("so it is 12.\n#### 12", "48/4 = 12\n#### 12", 1),
        ("#### 12 eggs", "#### 12", 0),
        ("The answer is 1,234", "#### 1234", 1),
        ("it was 3, then 4", "#### 4", 1),
        ("it was 3, then 4", "#### 3", 0),
        ("#### 5\n#### 6", "#### 6", 1),
        ("$18.", "#### 18", 1),
        ("paris.", "Paris", 1),
        ("It is Paris", "Paris", 0),
        ("no number", "#### 7", 0),
        ("whatever", "One line\nand another", np.nan),
        ("whatever", "a response of more than five words has no final answer", np.nan),
        ("whatever", "", np.nan),
    ],
)
def test_a_final_answer_is_right_wrong_or_not_there(written, expected, right):
    assert exact(written, expected) == pytest.approx(right, nan_ok=True)


def test_the_last_mark_counts():
    assert final_answer("#### 1\ntext #### 2 ") == "2"
    assert final_answer("two words") == "two words"
    assert final_answer("one\ntwo") is None
