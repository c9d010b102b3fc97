"""DELIFT: does showing the source as an example help the LLM to produce the target's response?

With d = sqrt(mean_t (1 − p_t)²) over the response tokens of target i (arXiv 2411.04425 §3):

    delift-l2 [i, j] = d(y_i | x_i) − d(y_i | x_i, example j)                       in [−1, 1]
    delift-kl [i, j] = mean_t [log p_t(y_i | x_i, example j) − log p_t(y_i | x_i)]   nats per token

Both come from the same pass; higher = j helps i. The paper's KL form is the sum over t; we keep
the mean, which does not grow with length (sum = mean × scored tokens). The instruction differs
between the two arms, so even an empty example has a value: score NULL_EXAMPLE to see it.

One source is read once and its key/value cache serves all targets. With h tokens that open the
query of every target (the template's "Query:", a common system prompt), this leaves

    Σ_j (len(example j) + h) + Σ_ij (len(query i) − h + T_i − 1)

tokens instead of Σ_ij (len(example j) + len(query i) + T_i − 1); base passes come on top once per
target. The last of the T_i scored tokens is not read, because nobody asks for its successor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from influence_store.influence.base import BaseState, LlmState
from influence_store.influence.formulas import mean_logp, rms_miss
from influence_store.influence.prompts import DELIFT_TEMPLATE, Template
from influence_store.influence.scorer import Request, ResponseStats
from influence_store.protocols import InfluenceSpec
from influence_store.schema.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Floats, Ids, Ledger

NULL_EXAMPLE = Sample.of("", "")


@dataclass(frozen=True)
class DeliftState:
    """The targets as token ids, `queries` and scored `responses` (one array each), and their base.

    `opening` (h,) is how the queries of all targets begin; it leaves each of them a token at least.
    Numbers only: it can be sent to another process or saved as arrays.
    """

    queries: tuple[Ids, ...]
    responses: tuple[Ids, ...]
    opening: Ids
    base: BaseState


class Delift:
    """DELIFT with a causal LM as the judge; targets that do not fit the LM's limit are NaN.

    `max_response_tokens` scores only the head of each response, at a fraction of the cost and
    with another fingerprint. `prefix_cache=False` reads every pair from its start: same values,
    for tests and benchmarks.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="delift",
        outputs=("delift-l2", "delift-kl"),
        higher_means="helpful",
        paper="arXiv:2411.04425",
        bounds=(-1.0, 1.0),
    )

    def __init__(
        self,
        llm: Llm,
        *,
        template: Template = DELIFT_TEMPLATE,
        max_response_tokens: int | None = None,
        batch_tokens: int = 512,
        prefix_cache: bool = True,
    ) -> None:
        self.base = LlmState(
            llm,
            template=template,
            max_response_tokens=max_response_tokens,
            batch_tokens=batch_tokens,
        )
        self.prefix_cache = prefix_cache

    @property
    def ledger(self) -> Ledger:
        """Passes and tokens spent so far, base passes included."""
        return self.base.ledger

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value; batch size and prefix cache do not."""
        return {
            "method": self.spec.name,
            "version": 1,
            "llm": dict(self.base.scorer.llm.facts),
            "template": asdict(self.base.prompter.template),
            "max_response_tokens": self.base.prompter.max_response_tokens,
        }

    def prepare(self, targets: Sequence[Sample]) -> DeliftState:
        """Read every target once without an example."""
        return self.prepare_from(targets, self.base.encode(targets))

    def prepare_from(self, targets: Sequence[Sample], base: BaseState) -> DeliftState:
        """The same without an LLM pass, from rows that `self.base` yielded for these targets."""
        if len(base) != len(targets):
            raise ValueError(f"{len(base)} base rows for {len(targets)} targets")
        queries, responses = self._tokens(targets)
        return DeliftState(queries, responses, _common_opening(queries), base)

    def score(self, state: DeliftState, source: Sample, targets: Ids) -> Mapping[str, Floats]:
        """Values of `source` for `targets`, per output (len(targets),); NaN where not scorable."""
        example = self.base.prompter.example(source)
        rows = np.asarray(targets, np.int64)
        requests = [self._request(state, i) for i in rows]
        stats = self._with_example(example, state.opening, requests)
        d1 = np.array([rms_miss(one.logp) for one in stats], np.float64)
        logp1 = np.array([mean_logp(one.logp) for one in stats], np.float64)
        return {
            "delift-l2": (state.base.d0[rows] - d1).astype(np.float32),
            "delift-kl": (logp1 + state.base.nll[rows]).astype(np.float32),
        }

    def count_tokens(self, sources: Sequence[Sample], targets: Sequence[Sample]) -> int:
        """Tokens that scoring every source for every target will read, base passes excluded.

        Exact, except that targets whose base value is missing are taken to be scored.
        """
        prompter, scorer = self.base.prompter, self.base.scorer
        queries, responses = self._tokens(targets)
        opening = _common_opening(queries)
        requests = [Request(*pair) for pair in zip(queries, responses, strict=True) if len(pair[1])]
        total = 0
        for source in sources:
            length = len(prompter.example(source))
            run = [one.n_run for one in requests if scorer.fits(one, prefix_length=length)]
            if run and self.prefix_cache:
                total += length + len(opening) + sum(run) - len(run) * len(opening)
            else:
                total += sum(run) + len(run) * length
        return total

    def _tokens(self, targets: Sequence[Sample]) -> tuple[tuple[Ids, ...], tuple[Ids, ...]]:
        prompter = self.base.prompter
        queries = tuple(prompter.query(target) for target in targets)
        return queries, tuple(prompter.scored(prompter.response(target)) for target in targets)

    def _request(self, state: DeliftState, target: int) -> Request:
        # Without a base value there is nothing to compare with, so no pass is spent either.
        unusable = bool(np.isnan(state.base.d0[target]))
        response = state.responses[target]
        return Request(state.queries[target], response[:0] if unusable else response)

    def _with_example(
        self, example: Ids, opening: Ids, requests: Sequence[Request]
    ) -> list[ResponseStats]:
        scorer = self.base.scorer
        runnable = [
            len(request.response) > 0 and scorer.fits(request, prefix_length=len(example))
            for request in requests
        ]
        if self.prefix_cache and any(runnable):
            prefix = scorer.prefill(np.concatenate([example, opening]))
            rest = [replace(one, context=one.context[len(opening) :]) for one in requests]
            return scorer.score(rest, prefix=prefix)
        whole = [
            Request(np.concatenate([example, request.context]), request.response)
            for request in requests
        ]
        return scorer.score(whole)


def _common_opening(queries: Sequence[Ids]) -> Ids:
    """The tokens (h,) that all queries begin with, but for the last token of the shortest."""
    if not queries:
        return np.zeros(0, np.int64)
    longest = max(0, min(len(query) for query in queries) - 1)
    first = queries[0][:longest]
    same = np.logical_and.reduce([query[:longest] == first for query in queries])
    return first[: longest if same.all() else int(np.argmin(same))]
