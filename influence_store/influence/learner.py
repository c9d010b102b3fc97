"""What must a model offer so that its gradients and its training can be measured?

Two models answer: a causal LM with a LoRA adapter or its last layers (`lora.py`), and an encoder
with a classification head (`classifier.py`). Methods see only this seam, so each of them works
for both. The loss of a sample is always the *mean* cross-entropy over its gold tokens (a class
label is one gold token), in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from influence_store.influence.checkpoints import Checkpoint, Recipe
    from influence_store.protocols import Doubles, Floats, Ids, Ledger
    from influence_store.schema.sample import Sample


@dataclass(frozen=True)
class Reading:
    """One sample as a learner reads it: `context` (n,) token ids, then what is to be learned.

    `gold` (T,) are response token ids, or one class number. T = 0: nothing to learn, because the
    response is empty, the class is unknown to the model, or the sample is `truncated` (too long).
    """

    context: Ids
    gold: Ids
    truncated: bool = False

    @property
    def usable(self) -> bool:
        """Whether there is a loss to measure."""
        return len(self.gold) > 0


@dataclass(frozen=True)
class GoldStats:
    """Per gold token t: `logp` (T,) nats; `sum_p2` (T,) = Σ_v p_t(v)²; `hit` (T,): argmax is it."""

    logp: Doubles
    sum_p2: Doubles
    hit: Ids


class Learner(Protocol):
    """A model whose *trainable* parameters are one flat vector of `n_parameters` float32.

    The flat order is that of `parameter_names`, each tensor row-major; checkpoints and gradients
    share it. Every method takes usable readings only and runs in evaluation mode (no dropout), so
    a row does not depend on its batch mates. `ledger` counts a forward, or a forward with its
    backward, of one sample as one pass (a Hessian product as two), and the tokens read without
    padding. What an iterator yields belongs to the weights in place when it is advanced.
    """

    name: str
    ledger: Ledger
    n_parameters: int

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the trainable tensors in the flat order."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides values besides the checkpoint: weights, template, what is trainable."""
        ...

    def read(self, sample: Sample) -> Reading:
        """Tokenise; nothing is ever cut silently."""
        ...

    def at(self, checkpoint: Checkpoint) -> AbstractContextManager[None]:
        """Put a checkpoint's weights in place; what was there before returns on exit."""
        ...

    def stats(self, readings: Sequence[Reading], *, blind: bool = False) -> list[GoldStats]:
        """Score the gold tokens; `blind` replaces the sample's prompt by nothing (for PVI)."""
        ...

    def gradients(self, readings: Sequence[Reading]) -> Iterator[Floats]:
        """The flat gradient (n_parameters,) of each reading's loss, one after another."""
        ...

    def gradient_norms(self, readings: Sequence[Reading]) -> Doubles:
        """L2 norms (n,) of those gradients, exactly, without forming them where possible."""
        ...

    def gold_logit_input_gradients(self, readings: Sequence[Reading]) -> Iterator[Floats]:
        """∂(Σ_t gold logit_t)/∂(input embeddings), (context + gold tokens read, d) per reading."""
        ...

    def hessian_product(self, readings: Sequence[Reading], vector: Floats) -> Floats:
        """∇² of the mean loss over `readings`, times `vector` (n_parameters,)."""
        ...

    def train(self, readings: Sequence[Reading], recipe: Recipe) -> list[Checkpoint]:
        """Fine-tune from the untrained adapter; equal arguments give equal checkpoints."""
        ...
