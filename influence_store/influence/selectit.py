"""SelectIT: how good does the LLM itself rate a sample, and how sure is it of the rating?

A rating prompt, then the sample; P_k is the probability that the next token is the digit k of
1..K (arXiv 2402.16705 §3, token, sentence and model level):

    P'_k = P_k / Σ P            S_base = argmax_k P'_k, the lowest of equals
    S_tok  = S_base · 1/(K−1) · Σ_k |P'_k − P'_base|                              in [0, K]
    S_sent = mean_r S_tok,r / (1 + α · std_r S_tok,r)       over r rating prompts, population std
    S_model = Σ_m θ_m / Σθ · S_sent,m                       over models of θ_m parameters

Higher = keep. The release applies a second softmax, P' = softmax(P / ΣP), which caps S_tok at
K(e − 1) / (e + K − 1) = 1.2788 for K = 5: `variant="code"`. Its model weights 7/20, 13/20, 70/90
add up to 1.78; ours add up to 1. It knows the digits by the token ids of one tokenizer; we look
them up, with and without a space before them, and add their probabilities.

The order of the parts is that of the release: rating prompt, instruction, response, cue. The
rating prompts are worded anew here (`RATING_PROMPTS`), so values are comparable among themselves,
not with the paper's. A rating prompt is read once, and its key/value cache serves every sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from influence_store.errors import Incompatible
from influence_store.influence.scorer import ResponseScorer
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec, PointValues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.influence.scorer import Prefix
    from influence_store.protocols import Doubles, Ids, Ledger
    from influence_store.schema.sample import Sample

Variant = Literal["paper", "code"]

RATING_PROMPTS = (
    "Judge the answer that was given to the request below. Use whole numbers from 1, a useless "
    "answer, to {levels}, an excellent one, and reply with the number only.\n\n",
    "You are checking training examples for a language model. Grade this one from 1 (should be "
    "thrown away) to {levels} (should certainly be kept). Say just the grade.\n\n",
    "How well does the response do what the instruction asks? Pick a mark between 1 and {levels}, "
    "where {levels} means completely and 1 means not at all. Give nothing but the mark.\n\n",
    "Below is one exchange. Rate it on a scale of 1 to {levels} for being correct, clear and "
    "complete; more is better. Your whole reply is a single digit.\n\n",
    "As a strict teacher, mark the following piece of work: 1 is the worst mark and {levels} the "
    "best. Write the mark and no explanation.\n\n",
    "Consider how much a student could learn from the following question and its answer. Express "
    "this as a score from 1 (nothing) to {levels} (a great deal), and output only the score.\n\n",
    "Would a careful expert be satisfied with this response? Choose a level from 1, not in the "
    "least, up to {levels}, entirely. Respond with that one digit.\n\n",
    "Assess the helpfulness, accuracy and style of the response to the instruction. The result is "
    "one integer, at least 1 for poor and at most {levels} for outstanding.\n\n",
    "Here is an instruction together with a response. Decide on its overall quality, with "
    "{levels} as the highest and 1 as the lowest level, and answer by the level alone.\n\n",
)
LAYOUT = "Instruction: {prompt}\nResponse: {response}\n\nThe answer is:\n"
_CHUNK = 64


class SelectIt:
    """Token and sentence level with a causal LM; NaN where a sample does not fit or says nothing.

    `selectit` in [0, K] is the sentence level over the first `k` rating prompts, `selectit-token`
    in [0, K] the token level of the first of them; higher = keep. `selectit-digit-mass` in [0, 1]
    is mean_r ΣP: near 0, the LLM would not have answered with a digit and the rating means little.
    The model level is `model_level` of the sentence level of several LLMs.

    ValueError for settings outside their range; Incompatible if a digit is no single token.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="selectit",
        outputs=("selectit", "selectit-token", "selectit-digit-mass"),
        higher_means="helpful",
        paper="arXiv:2402.16705",
        kind="pointwise",
        needs=("llm",),
        bounds=(0.0, 9.0),  # K itself, which is 9 at most
    )

    def __init__(
        self,
        llm: Llm,
        *,
        k: int = 5,
        levels: int = 5,
        alpha: float = 0.2,
        variant: Variant = "paper",
        batch_tokens: int = 512,
        ledger: Ledger | None = None,
    ) -> None:
        _check("k", k, 1, len(RATING_PROMPTS))
        _check("levels", levels, 2, 9)
        _check("alpha", alpha, 0.0, float("inf"))
        if variant not in ("paper", "code"):
            raise ValueError(f"variant is {variant!r}; use 'paper' or 'code'")
        self.scorer = ResponseScorer(llm, batch_tokens=batch_tokens, ledger=ledger)
        self.prompts = tuple(text.format(levels=levels) for text in RATING_PROMPTS[:k])
        self.levels = levels
        self.alpha = alpha
        self.variant: Variant = variant
        self.digits = [_digit_tokens(llm, digit) for digit in range(1, levels + 1)]
        self._ratings = [llm.tokenize(text) for text in self.prompts]
        self._prefixes: list[Prefix] = []

    @property
    def ledger(self) -> Ledger:
        """Passes and tokens spent so far; a rating prompt counts once, whatever it serves."""
        return self.scorer.ledger

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value, the wording included."""
        return {
            "method": self.spec.name,
            "version": 1,
            "llm": dict(self.scorer.llm.facts),
            "prompts": list(self.prompts),
            "layout": LAYOUT,
            "levels": self.levels,
            "alpha": self.alpha,
            "variant": self.variant,
        }

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Rate; k passes per sample, of which one token each is looked at."""
        contexts = [self._context(sample) for sample in samples]
        truncated = np.array([self._too_long(context) for context in contexts], np.bool_)
        lengths = np.array([len(context) for context in contexts], np.int64)
        runnable = np.flatnonzero((lengths > 0) & ~truncated)
        values = {output: np.full(len(samples), np.nan) for output in self.spec.outputs}
        with progress(self.spec.name, len(runnable), "samples") as advance:
            for start in range(0, len(runnable), _CHUNK):
                rows = runnable[start : start + _CHUNK]
                mass = self._digit_mass([contexts[row] for row in rows])
                tokens = token_level(mass, self.variant)
                values["selectit"][rows] = sentence_level(tokens, self.alpha)
                values["selectit-token"][rows] = tokens[0]
                values["selectit-digit-mass"][rows] = mass.sum(axis=-1).mean(axis=0)
                advance(len(rows))
        return PointValues(values, np.where(truncated, 0, lengths), truncated)

    def _context(self, sample: Sample) -> Ids:
        """What stands between rating prompt and digit; empty where there is nothing to rate."""
        if not sample.response:
            return np.zeros(0, np.int64)
        text = LAYOUT.format(prompt=sample.prompt, response=sample.response)
        return self.scorer.llm.tokenize(text)

    def _too_long(self, context: Ids) -> bool:
        longest = max(map(len, self._ratings))
        return longest + len(context) + 1 > self.scorer.llm.max_len

    def _digit_mass(self, contexts: Sequence[Ids]) -> Doubles:
        """P (k, n, K): the probability of each digit after each rating prompt and context."""
        if not self._prefixes:
            self._prefixes = [self.scorer.prefill(rating) for rating in self._ratings]
        tokens = np.concatenate(self.digits)
        of_digit = np.repeat(np.arange(self.levels), [len(ids) for ids in self.digits])
        mass = np.zeros((len(self._prefixes), len(contexts), self.levels))
        for place, prefix in enumerate(self._prefixes):
            p = np.exp(self.scorer.next_token(contexts, tokens, prefix=prefix))
            for digit in range(self.levels):
                mass[place, :, digit] = p[:, of_digit == digit].sum(axis=1)
        return mass


def token_level(mass: Doubles, variant: Variant = "paper") -> Doubles:
    """S_tok of digit probabilities P (…, K), any positive sum; NaN where that sum is 0."""
    total = mass.sum(axis=-1, keepdims=True)
    p = np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)
    if variant == "code":
        p = np.exp(p) / np.exp(p).sum(axis=-1, keepdims=True)
    base = np.argmax(p, axis=-1)[..., None]
    spread = np.abs(p - np.take_along_axis(p, base, axis=-1)).sum(axis=-1) / (p.shape[-1] - 1)
    return np.asarray((base[..., 0] + 1) * spread, np.float64)


def sentence_level(tokens: Doubles, alpha: float) -> Doubles:
    """S_sent (n,) of token levels (k, n), one row per rating prompt."""
    return np.asarray(tokens.mean(axis=0) / (1.0 + alpha * tokens.std(axis=0)), np.float64)


def model_level(scores: Doubles, parameters: Sequence[float]) -> Doubles:
    """S_model (n,) of sentence levels (m, n) by m LLMs with so many parameters each.

    The LLMs are m producers in the store; this is one weighted mean of their columns. NaN where
    one of them has no value. ValueError unless there is one positive parameter count per row.
    """
    weights = np.asarray(parameters, np.float64)
    if weights.shape != (len(scores),) or not (weights > 0).all():
        raise ValueError(
            f"parameters are {list(parameters)} for {len(scores)} rows of scores; "
            "give one positive count for each row"
        )
    return np.asarray(weights / weights.sum() @ scores, np.float64)


def _digit_tokens(llm: Llm, digit: int) -> Ids:
    """All token ids that spell the digit, alone or after a space."""
    spelt = (str(digit), f" {digit}")
    # After a line break too: some tokenizers put a space of their own before a text.
    texts = [llm.tokenize(text) for text in (*spelt, f"\n{digit}")]
    ends = {int(ids[-1]) for ids in texts if len(ids)}
    found = sorted(token for token in ends if llm.tokenizer.decode([token]) in spelt)
    if not found:
        raise Incompatible(
            f"the tokenizer of {llm.name} has no single token for {digit}, "
            "whose probability SelectIT reads",
            hint="use an LLM whose tokenizer keeps digits apart",
        )
    return np.array(found, np.int64)


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}; use {lowest} to {highest}")
