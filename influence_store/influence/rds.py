"""RDS, representation-based data selection: do two samples look alike to the LLM itself?

    S[i, j] = ⟨h_i / ‖h_i‖, h_j / ‖h_j‖⟩        in [−1, 1], symmetric; higher = closer
    h = Σ_t w_t h_t / Σ_t w_t

over the hidden states h_t of prompt and response, read as one text. Three weights are in use:

    "mean"      w_t = 1                  DiverseEvol's embedding (arXiv 2311.08182)
    "weighted"  w_t = t                  RDS+ (arXiv 2503.01807)
    "last"      w_t = 1 at the last t    the RDS baseline of LESS (arXiv 2402.04333)

Where we deviate: position t = 0 has no weight (unless it is all there is). A causal LM parks
attention there; in the middle layer of SmolLM2-135M its norm is 145 times that of the other tokens
and leaves less than half of the mean cosine distance (1 − cos: 0.024 with it, 0.060 without). In
the last layer, where a norm evens it out (1.08 times), it hardly matters: 0.144 and 0.147.

All these cosines are far from 0 (0.85 ± 0.08 on average there), as the states of an LLM share one
large mean. Subtracting it is a matter of reading the vectors, not of storing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.length_batches import length_batches
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter, Template
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec, Ledger, PointVectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Doubles, Ids, Side
    from influence_store.schema.sample import Sample

Pooling = Literal["mean", "weighted", "last"]


class Rds:
    """Unit vectors (n, dim) of pooled hidden states, one pass per sample; both sides are the same.

    `layer` counts as `hidden_states` of transformers do: 0 is the embedding, −1 the last layer
    behind its norm. A sample that does not fit the LLM, or has no response to learn, is NaN.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="rds",
        outputs=("rds",),
        higher_means="helpful",
        paper="arXiv:2402.04333",
        kind="bilinear",
        needs=("llm",),
        bounds=(-1.0, 1.0),
    )
    symmetric: bool = True

    def __init__(
        self,
        llm: Llm,
        *,
        pooling: Pooling = "mean",
        layer: int = -1,
        template: Template = DELIFT_TEMPLATE,
        batch_tokens: int = 512,
        ledger: Ledger | None = None,
    ) -> None:
        """ValueError for a pooling that is not known or a layer the LLM does not have."""
        if pooling not in get_args(Pooling):
            known = ", ".join(get_args(Pooling))
            raise ValueError(f"pooling is {pooling!r}; expected one of {known}")
        config = llm.model.config.get_text_config()
        self.n_layers = int(config.num_hidden_layers)
        if not -self.n_layers - 1 <= layer <= self.n_layers:
            raise ValueError(f"layer is {layer}; {llm.name} has 0 to {self.n_layers}")
        self.llm = llm
        self.prompter = Prompter(llm, template)
        self.pooling: Pooling = pooling
        self.layer = layer % (self.n_layers + 1)
        self.dim = int(config.hidden_size)
        self.batch_tokens = batch_tokens
        self.ledger = Ledger() if ledger is None else ledger

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector; batch size does not."""
        template = self.prompter.template
        return {
            "method": self.spec.name,
            "version": 1,
            "llm": dict(self.llm.facts),
            "template": [template.name, template.alone],
            "eos": [template.eos_after_prompt, template.eos_after_response],
            "pooling": self.pooling,
            "layer": self.layer,
        }

    def vectors(self, samples: Sequence[Sample], side: Side) -> PointVectors:
        """Measure; the side does not matter. `n_tokens` counts the tokens that have a weight.

        Incompatible if the LLM yields NaN.
        """
        texts = [self._text(sample) for sample in samples]
        vectors = np.full((len(samples), self.dim), np.nan, np.float32)
        runnable = [k for k, ids in enumerate(texts) if 0 < len(ids) <= self.llm.max_len]
        with progress(self.spec.name, len(runnable), "samples") as advance:
            for places in length_batches([len(texts[k]) for k in runnable], self.batch_tokens):
                batch = [runnable[place] for place in places]
                vectors[batch] = self._pooled([texts[k] for k in batch])
                advance(len(batch))
        n_tokens = np.zeros(len(samples), np.int64)
        n_tokens[runnable] = [np.count_nonzero(self._weights(len(texts[k]))) for k in runnable]
        truncated = np.array([len(ids) > self.llm.max_len for ids in texts], np.bool_)
        return PointVectors(vectors, n_tokens, truncated)

    def _text(self, sample: Sample) -> Ids:
        """Prompt and response as one text, (T,); empty where there is no response."""
        response = self.prompter.response(sample)
        return (
            np.concatenate([self.prompter.alone(sample), response]) if len(response) else response
        )

    def _weights(self, n: int) -> Doubles:
        """w_t for t = 0 … n − 1."""
        if self.pooling == "last" or n == 1:
            return np.asarray(np.eye(1, n, n - 1)[0])
        at: Doubles = np.arange(n, dtype=np.float64)
        return at if self.pooling == "weighted" else np.minimum(at, 1.0)

    def _pooled(self, texts: Sequence[Ids]) -> Doubles:
        """One forward pass; unit vectors (len(texts), dim)."""
        torch = require("torch", extra="train")
        # Padded on the right: under causal attention no token sees what follows it.
        rows = np.zeros((len(texts), max(map(len, texts))), np.int64)
        for row, ids in zip(rows, texts, strict=True):
            row[: len(ids)] = ids
        last = self.layer == self.n_layers
        with torch.inference_mode():
            out = self.llm.model.base_model(
                torch.from_numpy(rows).to(self.llm.device),
                use_cache=False,
                output_hidden_states=not last,
            )
            states = out.last_hidden_state if last else out.hidden_states[self.layer]
            states = states.float().cpu().numpy()
        self.ledger.llm_passes += len(texts)
        self.ledger.llm_tokens += sum(map(len, texts))
        pooled = np.stack(
            [
                self._weights(len(ids)) @ one[: len(ids)]
                for ids, one in zip(texts, states, strict=True)
            ]
        )
        if not np.isfinite(pooled).all():
            raise Incompatible(
                f"{self.llm.name} yields NaN in {self.llm.facts['dtype']}: no value can be trusted",
                hint="load it with dtype=float32 or bfloat16",
            )
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.where(norms > 0.0, norms, np.nan), np.float64)
