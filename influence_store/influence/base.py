"""What does an LLM know about each sample by itself? One pass per sample.

The results serve twice: DELIFT needs them once per target, and an estimator reads them as
features of targets and sources (they doubled its rank correlation in our measurements).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from influence_store.influence.formulas import mean_logp, rms_miss
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter, Template
from influence_store.influence.scorer import Request, ResponseScorer
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Floats, Ids, Ledger
    from influence_store.schema.sample import Sample

Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
_CHUNK = 64


@dataclass(frozen=True)
class BaseState:
    """One row per sample, in the order given.

    `hidden` (n, d): mean of the middle layer over the tokens read; `nll` (n,): mean −log p of the
    scored tokens, nats; `d0` (n,): rms miss in [0, 1]; both higher = harder. They are NaN where
    `truncated` or `empty`. `n_prompt_tokens` counts the whole context, template included,
    `n_response_tokens` the whole response, of which the first `n_scored_tokens` count.
    """

    hidden: Floats
    nll: Doubles
    d0: Doubles
    n_prompt_tokens: Ids
    n_response_tokens: Ids
    n_scored_tokens: Ids
    truncated: Flags
    empty: Flags

    def __len__(self) -> int:
        return len(self.nll)

    @property
    def cut(self) -> Flags:
        """(n,): the response is longer than the part that is scored."""
        return self.n_scored_tokens < self.n_response_tokens


class LlmState:
    """Producer of `BaseState`: context without an example, first tokens of the response.

    `max_response_tokens` = None scores whole responses. Tokens after the cut are not run, so they
    are not in `hidden` either.
    """

    name = "llm-state"

    def __init__(
        self,
        llm: Llm,
        *,
        template: Template = DELIFT_TEMPLATE,
        max_response_tokens: int | None = None,
        batch_tokens: int = 512,
        ledger: Ledger | None = None,
    ) -> None:
        self.prompter = Prompter(llm, template, max_response_tokens)
        self.scorer = ResponseScorer(llm, batch_tokens=batch_tokens, ledger=ledger)

    @property
    def ledger(self) -> Ledger:
        """Passes and tokens spent so far."""
        return self.scorer.ledger

    @property
    def dim(self) -> int:
        """Width d of `hidden`."""
        return int(self.scorer.llm.model.config.get_text_config().hidden_size)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value."""
        template = self.prompter.template
        return {
            "producer": self.name,
            "version": 1,
            "llm": dict(self.scorer.llm.facts),
            "template": [template.name, template.alone],
            "eos": [template.eos_after_prompt, template.eos_after_response],
            "max_response_tokens": self.prompter.max_response_tokens,
        }

    def encode(self, samples: Sequence[Sample]) -> BaseState:
        """Run the LLM once over every sample; a row does not depend on the other rows."""
        responses = [self.prompter.response(sample) for sample in samples]
        requests = [
            Request(self.prompter.alone(sample), self.prompter.scored(response))
            for sample, response in zip(samples, responses, strict=True)
        ]
        stats = []
        with progress("base passes", len(requests), "samples") as advance:
            for start in range(0, len(requests), _CHUNK):
                chunk = requests[start : start + _CHUNK]
                stats += self.scorer.score(chunk, hidden=True)
                advance(len(chunk))
        hidden = np.full((len(samples), self.dim), np.nan, np.float32)
        for row, one in zip(hidden, stats, strict=True):
            if one.hidden is not None:
                row[:] = one.hidden
        return BaseState(
            hidden=hidden,
            nll=np.array([-mean_logp(one.logp) for one in stats], np.float64),
            d0=np.array([rms_miss(one.logp) for one in stats], np.float64),
            n_prompt_tokens=_lengths(request.context for request in requests),
            n_response_tokens=_lengths(responses),
            n_scored_tokens=_lengths(request.response for request in requests),
            truncated=np.array([one.truncated for one in stats], np.bool_),
            empty=np.array([len(response) == 0 for response in responses], np.bool_),
        )


def _lengths(ids: Any) -> Ids:
    return np.array([len(one) for one in ids], np.int64)
