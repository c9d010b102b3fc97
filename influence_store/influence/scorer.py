"""How likely does an LLM find each token of a given response? The one primitive of all teachers.

Teacher forcing: the logits at position t − 1 score the token at t. Rows are padded on the right;
under causal attention nothing looks to the right, so padding and batch mates cannot change a
value, and no attention mask is needed. Nothing is ever truncated here.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.length_batches import length_batches
from influence_store.protocols import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Floats, Ids


@dataclass(frozen=True)
class Request:
    """Score `response` (T,) after `context` (n ≥ 1,); both token ids."""

    context: Ids
    response: Ids

    @property
    def n_run(self) -> int:
        """Tokens the model reads: all but the last, whose successor nobody asks for."""
        return len(self.context) + len(self.response) - 1


@dataclass(frozen=True)
class ResponseStats:
    """Per response token: `logp` (T,) in nats and, if asked for, `sum_p2` (T,) = Σ_v p(v)².

    `hidden` (d,), if asked for, is the mean over the tokens read of the middle layer's output,
    without position 0: there a causal LM parks attention with a norm some hundred times that of
    other tokens. `truncated` marks a request longer than the model's limit; like an empty
    response it has T = 0.
    """

    logp: npt.NDArray[np.float64]
    sum_p2: npt.NDArray[np.float64] | None = None
    hidden: Floats | None = None
    truncated: bool = False


_NOTHING = np.zeros(0, np.float64)
# A CPU reads 16 tokens of padding in about the time that one more batch costs it; on an
# accelerator a batch costs far more than its padding.
_CPU_PADDING = 16


@dataclass(frozen=True)
class Prefix:
    """The key/value cache after `length` tokens; scoring copies it and never changes it."""

    cache: Any
    length: int


class ResponseScorer:
    """Runs an LLM over requests in length-sorted batches of at most `batch_tokens` tokens.

    `ledger` counts a prefill or a request as one pass, and the tokens read, padding excluded.
    """

    def __init__(self, llm: Llm, *, batch_tokens: int = 512, ledger: Ledger | None = None) -> None:
        self.llm = llm
        self.batch_tokens = batch_tokens
        self.ledger = Ledger() if ledger is None else ledger

    def fits(self, request: Request, *, prefix_length: int = 0) -> bool:
        """Whether prefix, context and response together stay within the model's limit."""
        total = prefix_length + len(request.context) + len(request.response)
        return total <= self.llm.max_len

    def prefill(self, ids: Ids) -> Prefix:
        """Read a shared prefix (n,) once; ValueError if it is empty or longer than the limit."""
        if not 0 < len(ids) <= self.llm.max_len:
            raise ValueError(f"a prefix has 1 to {self.llm.max_len} tokens, this one {len(ids)}")
        torch = require("torch", extra="train")
        transformers = require("transformers", extra="train")
        cache = transformers.DynamicCache(config=self.llm.model.config)
        with torch.inference_mode():
            rows = torch.from_numpy(ids[None, :]).to(self.llm.device)
            self.llm.model.base_model(rows, past_key_values=cache, use_cache=True)
        self._count(1, len(ids))
        return Prefix(cache, len(ids))

    def score(
        self,
        requests: Sequence[Request],
        *,
        prefix: Prefix | None = None,
        sum_p2: bool = False,
        hidden: bool = False,
    ) -> list[ResponseStats]:
        """Stats per request, in order; after `prefix` if given (then without `hidden`).

        A request that does not fit is not run and comes back `truncated`; an empty response is
        not run either. ValueError for an empty context, Incompatible if the LLM yields NaN.
        """
        if hidden and prefix is not None:
            raise ValueError("hidden means are taken over whole texts: score them without a prefix")
        length = _length(prefix)
        results = [
            ResponseStats(_NOTHING, truncated=not self.fits(request, prefix_length=length))
            for request in requests
        ]
        for batch in self._batches(requests, prefix):
            stats = self._stats([requests[k] for k in batch], prefix, sum_p2=sum_p2, hidden=hidden)
            for k, one in zip(batch, stats, strict=True):
                results[k] = one
        return results

    def next_token(
        self, contexts: Sequence[Ids], choices: Ids, *, prefix: Prefix | None = None
    ) -> npt.NDArray[np.float64]:
        """log p (n, len(choices)), nats, that the token `choices[c]` follows contexts[k].

        A context that leaves no room for one more token is not run: its row is NaN. Errors are
        those of `score`.
        """
        anything = np.zeros(1, np.int64)
        requests = [Request(context, anything) for context in contexts]
        values = np.full((len(requests), len(choices)), np.nan)
        for batch in self._batches(requests, prefix):
            log_p, _ = self._read([requests[k] for k in batch], prefix)
            values[batch] = self._finite(log_p[:, choices])
        return values

    def _batches(self, requests: Sequence[Request], prefix: Prefix | None) -> Iterator[list[int]]:
        """Positions of those that can be run, shortest first, in batches with little padding."""
        if any(len(request.context) == 0 for request in requests):
            raise ValueError("the first response token needs a token before it; context is empty")
        runnable = [
            k
            for k, request in enumerate(requests)
            if len(request.response) and self.fits(request, prefix_length=_length(prefix))
        ]
        most_padding = _CPU_PADDING if self.llm.device == "cpu" else None
        lengths = [requests[k].n_run for k in runnable]
        for places in length_batches(lengths, self.batch_tokens, most_padding=most_padding):
            yield [runnable[place] for place in places]

    def _stats(
        self, requests: Sequence[Request], prefix: Prefix | None, *, sum_p2: bool, hidden: bool
    ) -> list[ResponseStats]:
        log_p, states = self._read(requests, prefix, hidden=hidden)
        gold = np.concatenate([request.response for request in requests])
        logp = self._finite(log_p[np.arange(len(gold)), gold])
        squares = _numpy((2.0 * log_p).exp().sum(dim=-1)) if sum_p2 else None
        means = _middle_means(states, requests) if hidden else None
        ends = np.cumsum([len(request.response) for request in requests])
        return [
            ResponseStats(
                logp=logp[end - len(request.response) : end],
                sum_p2=None if squares is None else squares[end - len(request.response) : end],
                hidden=None if means is None else means[k],
            )
            for k, (request, end) in enumerate(zip(requests, ends, strict=True))
        ]

    def _read(
        self, requests: Sequence[Request], prefix: Prefix | None, *, hidden: bool = False
    ) -> tuple[Any, Any]:
        """One forward: log p (Σ T, V) at the response tokens of all requests, hidden states."""
        torch = require("torch", extra="train")
        rows, scored = padded(requests)
        with torch.inference_mode():
            where = torch.from_numpy(scored).to(self.llm.device)
            with head_reads_only(self.llm.model, where):
                out = self.llm.model(
                    torch.from_numpy(rows).to(self.llm.device),
                    past_key_values=None if prefix is None else _copies(prefix, len(requests)),
                    use_cache=prefix is not None,
                    output_hidden_states=hidden,
                )
            self._count(len(requests), sum(request.n_run for request in requests))
            return torch.log_softmax(out.logits.float(), dim=-1), out.hidden_states

    def _finite(self, logp: Any) -> npt.NDArray[np.float64]:
        values = _numpy(logp)
        if not np.isfinite(values).all():
            raise Incompatible(
                f"{self.llm.name} yields NaN in {self.llm.facts['dtype']}: no value can be trusted",
                hint="load it with dtype=float32 or bfloat16",
            )
        return values

    def _count(self, passes: int, tokens: int) -> None:
        self.ledger.llm_passes += passes
        self.ledger.llm_tokens += tokens


def _length(prefix: Prefix | None) -> int:
    return 0 if prefix is None else prefix.length


def padded(requests: Sequence[Request]) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Ids (B, W) with zeros on the right, and where the logits score a response token."""
    width = max(request.n_run for request in requests)
    rows = np.zeros((len(requests), width), np.int64)
    scored = np.zeros((len(requests), width), np.bool_)
    for k, request in enumerate(requests):
        rows[k, : request.n_run] = np.concatenate([request.context, request.response[:-1]])
        scored[k, len(request.context) - 1 : request.n_run] = True
    return rows, scored


@contextmanager
def head_reads_only(model: Any, where: Any) -> Iterator[None]:
    """Let the vocabulary projection see the positions `where` (B, W) only: logits are (Σ T, V).

    The model's own forward still runs, so what it does to logits afterwards (soft caps, scales)
    is kept. `logits_to_keep` cannot say this before transformers 5.22: one list for all rows.
    """
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _head, inputs: (inputs[0][where],))
    try:
        yield
    finally:
        handle.remove()


def _copies(prefix: Prefix, n: int) -> Any:
    cache = copy.deepcopy(prefix.cache)
    cache.batch_repeat_interleave(n)
    return cache


def _middle_means(states: Sequence[Any], requests: Sequence[Request]) -> Floats:
    """(B, d) from the output of layer n_layers // 2; entry 0 of `states` is the embedding."""
    middle = states[(len(states) - 1) // 2].float()
    means = [middle[k, min(1, r.n_run - 1) : r.n_run].mean(dim=0) for k, r in enumerate(requests)]
    return np.stack([mean.cpu().numpy() for mean in means]).astype(np.float32)


def _numpy(tensor: Any) -> npt.NDArray[np.float64]:
    return np.asarray(tensor.cpu().numpy(), np.float64)
