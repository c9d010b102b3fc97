"""IFD, instruction-following difficulty: how little does the prompt help to say the response?

    IFD = PPL(y | x) / PPL(y) = exp(mean_t log p(y_t) − mean_t log p(y_t | x))      in (0, ∞)

(arXiv 2308.12032 in the form of its sequel, 2402.00530.) High but below 1 = the prompt helps
little = hard = keep. At 1 or above the prompt misleads, and the paper discards the sample:
`ifd-below-1` has no value there. The first release divides mean losses, not perplexities: that
crosses 1 at the same samples but ranks others, and is nll / (nll − ln ifd) of stored columns.

Where else we deviate: prompt and response are tokenised apart, so that no token straddles the
border, where the release looks for the response in the joined text; PPL(y) is read after one EOS
token, so that both passes score the same tokens; the LLM is used as it comes, without the short
fine-tuning on a subset that the first paper starts with. What cannot be scored is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from influence_store.influence.formulas import ifd
from influence_store.influence.response_pass import Extra, ResponseMethod, ResponseRead
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ifd(ResponseMethod):
    """IFD of the response; two passes, higher = harder. Short responses tend to high values."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="ifd",
        outputs=("ifd", "ifd-below-1"),
        higher_means="harder",
        paper="arXiv:2308.12032",
        kind="pointwise",
        needs=("llm",),
        bounds=(0.0, float("inf")),
    )
    reads: ClassVar[frozenset[Extra]] = frozenset({"alone"})

    def values(self, read: ResponseRead) -> Mapping[str, float]:
        """The ratio, and the ratio where the paper would keep the sample."""
        assert read.logp_alone is not None
        ratio = ifd(read.logp, read.logp_alone)
        return {"ifd": ratio, "ifd-below-1": ratio if ratio < 1.0 else float("nan")}
