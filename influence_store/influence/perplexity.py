"""Perplexity: how surprised is the LLM by the response?

    perplexity     = exp(−mean_t log p(y_t | x, y_<t))    in [1, ∞)
    perplexity-nll = −mean_t log p(y_t | x, y_<t)         in [0, ∞), nats per token

The definition is folklore (Jelinek et al. 1977, J. Acoust. Soc. Am. 62 S63). Neither end is better:
a low value may be trivial, a high one broken, so the middle or the low part is usually kept. The
second output is the same number on a scale without outliers: prefer it for means and correlations.
Only the response is scored, not the prompt, as every method here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from influence_store.influence.formulas import mean_logp, perplexity
from influence_store.influence.response_pass import ResponseMethod, ResponseRead
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Perplexity(ResponseMethod):
    """Perplexity of the response given the prompt; one pass, no direction."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="perplexity",
        outputs=("perplexity", "perplexity-nll"),
        higher_means="neither",
        paper="doi:10.1121/1.2016299",
        kind="pointwise",
        needs=("llm",),
        bounds=(1.0, float("inf")),
    )

    def values(self, read: ResponseRead) -> Mapping[str, float]:
        """Both scales."""
        return {"perplexity": perplexity(read.logp), "perplexity-nll": -mean_logp(read.logp)}
