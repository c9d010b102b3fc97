"""What do all learners written in torch have in common? Everything but reading a sample.

A subclass brings a module whose trainable parameters have `requires_grad`, and says how readings
become gold logits; losses, gradients, curvature and training follow from that here. The module
stays in evaluation mode even while it trains: no dropout, so that a run repeats exactly and a
gradient belongs to the weights alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.ghost import LinearTraces
from influence_store.influence.learner import GoldStats, Reading
from influence_store.influence.length_batches import length_batches
from influence_store.influence.training import flat, train
from influence_store.protocols import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.influence.checkpoints import Checkpoint, Recipe
    from influence_store.protocols import Doubles, Floats
    from influence_store.schema.sample import Sample

# Gradients held at once while a window of readings is taken out of its order: 256 MB.
_HELD_FLOATS = 2**26


@dataclass(frozen=True)
class GoldLogits:
    """Logits that predict the gold tokens of a batch, one reading after another.

    `logits` (Σ T, V) is at least float32; `gold` (Σ T,) token or class numbers; `lengths` the T.
    """

    logits: Any
    gold: Any
    lengths: tuple[int, ...]

    @cached_property
    def log_z(self) -> Any:
        """log Σ_v exp(logit), (Σ T,)."""
        return self.logits.logsumexp(dim=-1)

    @property
    def logp(self) -> Any:
        """log p of the gold tokens, (Σ T,) nats."""
        return self.picked - self.log_z

    @property
    def picked(self) -> Any:
        """The gold tokens' own logits, (Σ T,)."""
        return self.logits.gather(1, self.gold[:, None])[:, 0]

    @property
    def losses(self) -> Any:
        """Mean cross-entropy of each reading, (B,) nats, differentiable."""
        torch = require("torch", extra="train")
        return torch.stack([-logp.mean() for logp in self.logp.split(self.lengths)])


class TorchLearner(ABC):
    """A `Learner` over a torch module; not safe to share between threads.

    `batch_tokens` bounds the padded tokens of one forward pass; it moves values by rounding only.
    """

    def __init__(
        self,
        module: Any,
        *,
        name: str,
        device: str = "cpu",
        batch_tokens: int = 512,
        ledger: Ledger | None = None,
    ) -> None:
        self.module = module.eval()
        self.name = name
        self.device = device
        self.batch_tokens = batch_tokens
        self.ledger = Ledger() if ledger is None else ledger
        self.trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
        if not self.trainable:
            raise ValueError(f"{name} has no trainable parameter")
        self.n_parameters = sum(p.numel() for p in self.trainable.values())
        self.untrained = self.weights()
        self._traces = LinearTraces.of(module, self.trainable)

    # -- what a subclass says ------------------------------------------------------------------

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """All that decides values besides the checkpoint: weights, template, what is trainable."""

    @abstractmethod
    def read(self, sample: Sample) -> Reading:
        """Tokenise; nothing is ever cut silently."""

    @abstractmethod
    def without_prompt(self, reading: Reading) -> Reading:
        """The same gold tokens with nothing to predict them from."""

    @abstractmethod
    def n_read(self, reading: Reading) -> int:
        """Tokens the module reads for it, padding excluded."""

    @abstractmethod
    def gold_logits(self, readings: Sequence[Reading]) -> GoldLogits:
        """One forward pass over a batch, with its graph; no reading sees another."""

    @property
    def embedding(self) -> Any:
        """The module that turns token ids (B, W) into input embeddings (B, W, d)."""
        return self.module.get_input_embeddings()

    # -- weights -------------------------------------------------------------------------------

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the trainable tensors in the flat order."""
        return tuple(self.trainable)

    def weights(self) -> Floats:
        """A copy of the trainable weights, flat (n_parameters,)."""
        return flat(self.trainable.values())

    @contextmanager
    def with_weights(self, weights: Floats) -> Iterator[None]:
        """Put flat weights in place; the present ones return on exit, whatever happens inside."""
        if weights.shape != (self.n_parameters,):
            raise Incompatible(
                f"weights of shape {weights.shape} for {self.name}, "
                f"which trains ({self.n_parameters},)",
                hint="use the learner that the checkpoint was trained with",
            )
        before = self.weights()
        try:
            self._load(weights)
            yield
        finally:
            self._load(before)

    @contextmanager
    def at(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Put a checkpoint's weights in place; what was there before returns on exit."""
        with self.with_weights(checkpoint.weights):
            yield

    # -- measurements --------------------------------------------------------------------------

    def stats(self, readings: Sequence[Reading], *, blind: bool = False) -> list[GoldStats]:
        """Score the gold tokens; `blind` takes the prompt away (for PVI)."""
        torch = require("torch", extra="train")
        seen = [self.without_prompt(r) for r in readings] if blind else list(readings)
        results: dict[int, GoldStats] = {}
        with torch.no_grad():
            for batch in self.batches(seen):
                out = self.gold_logits([seen[k] for k in batch])
                results |= zip(batch, _gold_stats(out), strict=True)
        return [results[k] for k in range(len(seen))]

    def gradients(self, readings: Sequence[Reading]) -> Iterator[Floats]:
        """The flat gradient (n_parameters,) of each reading's loss, in order, one after another."""
        window = max(1, min(64, _HELD_FLOATS // self.n_parameters))
        for start in range(0, len(readings), window):
            chosen = readings[start : start + window]
            rows: dict[int, Floats] = {}
            for batch in self.batches(chosen, alone=self._traces is None):
                rows |= zip(batch, self._gradients([chosen[k] for k in batch]), strict=True)
            yield from (rows.pop(k) for k in range(len(chosen)))

    def gradient_norms(self, readings: Sequence[Reading]) -> Doubles:
        """L2 norms (n,) of those gradients; never formed where only linear layers are trained."""
        norms = np.empty(len(readings), np.float64)
        for batch in self.batches(readings, alone=self._traces is None):
            norms[batch] = self._norms([readings[k] for k in batch])
        return norms

    def gold_logit_input_gradients(self, readings: Sequence[Reading]) -> Iterator[Floats]:
        """∂(Σ_t gold logit_t)/∂(input embeddings), (tokens read, d) per reading."""
        torch = require("torch", extra="train")
        for reading in readings:
            self.count([reading])
            with _embedded(self.embedding) as seen:
                total = self.gold_logits([reading]).picked.sum()
            (gradient,) = torch.autograd.grad(total, seen)
            yield gradient[0, : self.n_read(reading)].float().cpu().numpy()

    def hessian_product(self, readings: Sequence[Reading], vector: Floats) -> Floats:
        """∇² of the mean loss over `readings`, times `vector` (n_parameters,).

        Differentiates twice, with attention in its plain form: fused kernels do not allow it.
        """
        torch = require("torch", extra="train")
        attention = require("torch.nn.attention", extra="train")
        weights = list(self.trainable.values())
        direction = self._split(vector)
        product = np.zeros(self.n_parameters, np.float64)
        for batch in self.batches(readings, passes=2):
            with attention.sdpa_kernel(attention.SDPBackend.MATH):
                losses = self.gold_logits([readings[k] for k in batch]).losses
                first = torch.autograd.grad(
                    losses.sum(), weights, create_graph=True, materialize_grads=True
                )
                slope = sum((g * v).sum() for g, v in zip(first, direction, strict=True))
                second = torch.autograd.grad(slope, weights, materialize_grads=True)
            product += flat(second)
        return (product / len(readings)).astype(np.float32)

    def train(self, readings: Sequence[Reading], recipe: Recipe) -> list[Checkpoint]:
        """Fine-tune from the untrained weights; equal arguments give equal checkpoints."""
        seen = [self.without_prompt(r) for r in readings] if recipe.blind else readings
        with self.with_weights(self.untrained):
            return train(self, seen, recipe)

    def _gradients(self, readings: Sequence[Reading]) -> list[Floats]:
        losses = self._recorded_losses(readings)
        if self._traces is not None and self._traces.separable(len(readings)):
            found = self._traces.gradients(losses)
            by_name = [found[id(p)] for p in self.trainable.values()]
            return [flat(part[k] for part in by_name) for k in range(len(readings))]
        torch = require("torch", extra="train")
        weights = list(self.trainable.values())
        return [
            flat(
                torch.autograd.grad(
                    loss, weights, retain_graph=k + 1 < len(losses), materialize_grads=True
                )
            )
            for k, loss in enumerate(losses)
        ]

    def _norms(self, readings: Sequence[Reading]) -> Doubles:
        if self._traces is not None:
            losses = self._recorded_losses(readings)
            if self._traces.separable(len(readings)):
                return self._traces.norms(losses)
        rows = self._gradients(readings)
        return np.array([np.linalg.norm(row.astype(np.float64)) for row in rows], np.float64)

    def _recorded_losses(self, readings: Sequence[Reading]) -> Any:
        with nullcontext() if self._traces is None else self._traces.recording():
            return self.gold_logits(readings).losses

    # -- shared with training ------------------------------------------------------------------

    def batches(
        self, readings: Sequence[Reading], *, passes: int = 1, alone: bool = False
    ) -> Iterator[list[int]]:
        """Positions in batches of similar length, or `alone`; counted as `passes` when taken."""
        limit = 0 if alone else self.batch_tokens
        for batch in length_batches([self.n_read(reading) for reading in readings], limit):
            self.count([readings[k] for k in batch], passes=passes)
            yield batch

    def count(self, readings: Sequence[Reading], *, passes: int = 1) -> None:
        """Enter a batch in the ledger; ValueError where there is no loss to measure."""
        if not all(reading.usable for reading in readings):
            raise ValueError("a reading without gold tokens has no loss: leave it out")
        self.ledger.llm_passes += passes * len(readings)
        self.ledger.llm_tokens += passes * sum(self.n_read(reading) for reading in readings)

    def _load(self, weights: Floats) -> None:
        torch = require("torch", extra="train")
        with torch.no_grad():
            for p, part in zip(self.trainable.values(), self._split(weights), strict=True):
                p.copy_(part)

    def _split(self, vector: Floats) -> list[Any]:
        """A flat vector as tensors shaped like the parameters."""
        torch = require("torch", extra="train")
        # A copy, since numpy arrays read from a file may be read-only, which torch warns about.
        parts = torch.from_numpy(np.array(vector)).split(
            [p.numel() for p in self.trainable.values()]
        )
        return [
            part.view_as(p).to(p.device, p.dtype)
            for part, p in zip(parts, self.trainable.values(), strict=True)
        ]


def _gold_stats(out: GoldLogits) -> list[GoldStats]:
    squares = (2.0 * out.logits).logsumexp(dim=-1) - 2.0 * out.log_z
    columns = (
        out.logp.double().cpu().numpy(),
        squares.exp().double().cpu().numpy(),
        (out.logits.argmax(dim=-1) == out.gold).long().cpu().numpy(),
    )
    ends = np.cumsum(out.lengths)[:-1]
    return [GoldStats(*row) for row in zip(*(np.split(c, ends) for c in columns), strict=True)]


@contextmanager
def _embedded(embedding: Any) -> Iterator[list[Any]]:
    """Make what the embedding layer puts out a leaf of the graph, and hand it over."""
    seen: list[Any] = []

    def as_leaf(_module: Any, _inputs: Any, out: Any) -> Any:
        seen.append(out.detach().requires_grad_())
        return seen[-1]

    handle = embedding.register_forward_hook(as_leaf)
    try:
        yield seen
    finally:
        handle.remove()
