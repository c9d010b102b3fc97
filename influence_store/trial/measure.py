"""How good is a model on rows it never saw? Loss of the response, ROUGE-L, the final answer.

    loss      mean −log p of a response token given the prompt, nats; the end of text counts as one
    rouge_l   F1 of the longest common subsequence of words (Lin 2004), 0 to 1; words are runs of
              letters and digits of any script, in lower case
    exact     1 where the final answer is the expected one, 0 where not; NaN where the data has none

A final answer stands behind the last `####`, as in GSM8K, or is a whole response of a single line
and at most five words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.extras import require
from influence_store.trial.generate import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Doubles
    from influence_store.trial.collate import Encoded
    from influence_store.trial.finetune import Tuned

_MARK = "####"
_SHORT_WORDS = 5
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Measured:
    """One row per held-out sample, in the order given, (n,) each; NaN where not measured."""

    loss: Doubles
    rouge_l: Doubles
    exact: Doubles


def response_losses(model: Tuned, rows: Sequence[Encoded]) -> Doubles:
    """Mean −log p of each row's response tokens, (n,) nats."""
    torch = require("torch", extra="train")
    found = np.empty(len(rows), np.float64)
    with torch.no_grad():
        for places, nll, lengths in model.losses(rows):
            parts = nll.double().cpu().split(lengths)
            found[places] = [float(part.mean()) for part in parts]
    return found


def answers(
    model: Tuned, rows: Sequence[Encoded], expected: Sequence[str], *, max_tokens: int
) -> tuple[Doubles, Doubles]:
    """ROUGE-L and exactness of what the model writes to each prompt, (n,) each."""
    written = generate(model, rows, max_tokens=max_tokens)
    pairs = list(zip(written, expected, strict=True))
    return (
        np.array([rouge_l(one, wanted) for one, wanted in pairs], np.float64),
        np.array([exact(one, wanted) for one, wanted in pairs], np.float64),
    )


class _Words:
    """What rouge-score calls a tokenizer; its own drops every letter that is not ASCII."""

    def tokenize(self, text: str) -> list[str]:
        """Words in lower case."""
        return _WORD.findall(text.lower())


def rouge_l(written: str, expected: str) -> float:
    """F1 of the longest common subsequence of words; 0 where either has none."""
    scorer: Any = require("rouge_score.rouge_scorer", extra="trial").RougeScorer(
        ["rougeL"], tokenizer=_Words()
    )
    return float(scorer.score(expected, written)["rougeL"].fmeasure)


def exact(written: str, expected: str) -> float:
    """1 or 0; NaN where `expected` has no final answer.

    Where a number behind `####` is expected and none is written there, the last number counts.
    """
    wanted = final_answer(expected)
    if wanted is None:
        return float("nan")
    if _MARK in written:
        found = final_answer(written) or ""
    elif _MARK in expected:
        found = (_NUMBER.findall(written) or [""])[-1]
    else:
        found = written
    return float(_plain(found) == _plain(wanted))


def final_answer(text: str) -> str | None:
    """What stands behind the last `####`, or a response that is nothing but a short answer."""
    if _MARK in text:
        return text.rpartition(_MARK)[2].strip()
    short = text.strip()
    is_answer = short and "\n" not in short and len(short.split()) <= _SHORT_WORDS
    return short if is_answer else None


def _plain(text: str) -> str:
    """Case, spaces, thousands separators and a closing full stop do not make an answer wrong."""
    without_commas = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    return " ".join(without_commas.split()).rstrip(".").removeprefix("$").removesuffix(".0")
