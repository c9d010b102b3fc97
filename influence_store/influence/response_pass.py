"""Which methods are arithmetic on how an LLM reads one response, and how do they share the pass?

Perplexity, IFD, zero-shot PVI and token EL2N need the same forward pass; the second and third
also one without the prompt. Scored together they cost what the most demanding of them costs.

Without a prompt, the response stands after a single EOS token: a causal LM scores its first token
only after some other, and EOS is what DELIFT's template ends a prompt with too, so the prompt is
all that differs. Both passes score the same T tokens, the closing EOS included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from influence_store.errors import Incompatible
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter, Template
from influence_store.influence.scorer import Request, ResponseScorer
from influence_store.progress import progress
from influence_store.protocols import PointValues

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.influence.scorer import ResponseStats
    from influence_store.protocols import Doubles, InfluenceSpec, Ledger
    from influence_store.schema.sample import Sample

#: What a method reads besides log p(y | x): log p(y) without the prompt, and Σ_v p_t(v)².
Extra = Literal["alone", "sum_p2"]
_CHUNK = 64


@dataclass(frozen=True)
class ResponseRead:
    """A response as the LLM read it, per scored token: nats `logp` and `logp_alone`, `sum_p2`.

    All are (T,); the last two are None unless somebody's `reads` asked for them.
    """

    logp: Doubles
    logp_alone: Doubles | None = None
    sum_p2: Doubles | None = None
    truncated: bool = False


class ResponseMethod(ABC):
    """A pointwise method that needs a `ResponseRead` only; a subclass states what and how.

    `max_response_tokens` scores the head of each response only, with another fingerprint.
    Incompatible if the tokenizer lacks the EOS token that the template or "alone" asks for.
    """

    spec: ClassVar[InfluenceSpec]
    reads: ClassVar[frozenset[Extra]] = frozenset()
    version: ClassVar[int] = 1

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
        if "alone" in self.reads and llm.eos_id is None:
            raise Incompatible(
                f"the tokenizer of {llm.name} has no EOS token; "
                f"{self.spec.name} puts it before a response without its prompt",
                hint="use a model whose tokenizer names an eos_token",
            )

    @property
    def ledger(self) -> Ledger:
        """Passes and tokens spent so far."""
        return self.scorer.ledger

    @property
    def pass_facts(self) -> Mapping[str, Any]:
        """Everything that changes a `ResponseRead`; the same for methods that share a pass."""
        template = self.prompter.template
        return {
            "llm": dict(self.scorer.llm.facts),
            "template": [template.name, template.alone],
            "eos": [template.eos_after_prompt, template.eos_after_response],
            "max_response_tokens": self.prompter.max_response_tokens,
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value; what is scored in the same pass does not."""
        no_prompt = {"no_prompt": "eos"} if "alone" in self.reads else {}
        name, version = self.spec.name, self.version
        return {"method": name, "version": version, **self.pass_facts, **no_prompt}

    @abstractmethod
    def values(self, read: ResponseRead) -> Mapping[str, float]:
        """One number per output for a response of T ≥ 1 scored tokens; NaN where undefined."""

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Measure; NaN where a sample does not fit the LLM or its response is empty."""
        return score_together([self], samples)[0]


def score_together(
    methods: Sequence[ResponseMethod], samples: Sequence[Sample]
) -> list[PointValues]:
    """Values of each method, in order, from one LLM pass per sample, or two if one reads "alone".

    The first method's scorer runs, so its ledger is charged for all. ValueError if the methods
    differ in LLM, template or cut, because then no pass can serve them all.
    """
    _check_shareable(methods)
    tokens = np.zeros(len(samples), np.int64)
    truncated = np.zeros(len(samples), np.bool_)
    columns = [
        {output: np.full(len(samples), np.nan) for output in method.spec.outputs}
        for method in methods
    ]
    for k, read in enumerate(_reads(methods, samples)):
        tokens[k], truncated[k] = len(read.logp), read.truncated
        if len(read.logp) == 0:
            continue
        for method, column in zip(methods, columns, strict=True):
            values = method.values(read)
            for output in column:
                column[output][k] = values[output]
    return [PointValues(column, tokens, truncated) for column in columns]


def _check_shareable(methods: Sequence[ResponseMethod]) -> None:
    if not methods:
        raise ValueError("no method to score with; name at least one")
    for other in methods[1:]:
        first, facts = methods[0].pass_facts, other.pass_facts
        if facts != first:
            differs = ", ".join(key for key in first if facts[key] != first[key])
            raise ValueError(
                f"{methods[0].spec.name} and {other.spec.name} cannot share a pass: "
                f"they differ in {differs}; score them one by one"
            )


def _reads(methods: Sequence[ResponseMethod], samples: Sequence[Sample]) -> Iterator[ResponseRead]:
    wanted = frozenset[Extra]().union(*(method.reads for method in methods))
    names = ", ".join(method.spec.name for method in methods)
    with progress(names, len(samples), "samples") as advance:
        for start in range(0, len(samples), _CHUNK):
            chunk = samples[start : start + _CHUNK]
            yield from _read_chunk(methods[0], chunk, wanted)
            advance(len(chunk))


def _read_chunk(
    method: ResponseMethod, samples: Sequence[Sample], wanted: frozenset[Extra]
) -> Iterator[ResponseRead]:
    prompter, scorer = method.prompter, method.scorer
    requests = [
        Request(prompter.alone(sample), prompter.scored(prompter.response(sample)))
        for sample in samples
    ]
    given = scorer.score(requests, sum_p2="sum_p2" in wanted)
    alone: Sequence[ResponseStats | None] = [None] * len(samples)
    if "alone" in wanted:
        eos = np.array([scorer.llm.eos_id], np.int64)
        # A response that was not scored with its prompt is not worth a pass without it.
        alone = scorer.score(
            [
                Request(eos, request.response[: len(one.logp)])
                for request, one in zip(requests, given, strict=True)
            ]
        )
    for one, other in zip(given, alone, strict=True):
        yield ResponseRead(
            one.logp, None if other is None else other.logp, one.sum_p2, one.truncated
        )
