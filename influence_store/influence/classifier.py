"""What does it take to teach an encoder the classes of a data set? A learner with class labels.

    logits = W · mean over tokens of encoder(prompt) + b,   ℓ = −log softmax(logits)[class]

A sample's class is its response. What is trained is the head alone (logistic regression on fixed
features), the last transformer block with the head (for TracIn, that block told mislabelled rows
better than the head did: EMNLP 2023, "Influence scores at scale"), or all weights. Everything
that a causal LM's learner measures is measured here in its classification form.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from influence_store.errors import UsageError
from influence_store.extras import require
from influence_store.influence.learner import Reading
from influence_store.influence.torch_learner import GoldLogits, TorchLearner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from influence_store.influence.encoder import Encoder
    from influence_store.protocols import Floats, Ids, Ledger
    from influence_store.schema.sample import Sample

Trainable = Literal["head", "last-layer", "all"]

MAX_CLASSES = 1000
_HEAD_SPREAD = 0.02
#: How much is kept of the averages of a frozen encoder; later texts are read each time.
_REMEMBERED_BYTES = 256 * 2**20
_UNUSABLE = np.zeros(0, np.int64)


def classes_of(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The distinct classes of samples, sorted; empty responses are none.

    UsageError if there are fewer than 2 or more than 1,000: then responses are no class labels.
    """
    found = sorted({sample.response.strip() for sample in samples} - {""})
    if not 2 <= len(found) <= MAX_CLASSES:
        shown = f", such as {found[0][:40]!r}" if found else ""
        raise UsageError(
            f"{len(found):,} different responses{shown}; class labels are 2 to {MAX_CLASSES:,}",
            hint="label data with free text with a causal LM instead of a classifier",
        )
    return tuple(found)


class EncoderClassifier(TorchLearner):
    """An encoder, a mean over its tokens and a linear head of len(classes) outputs.

    `classes` are the labels in the order of their numbers, as `classes_of` yields them. A sample
    of another class has nothing to learn (gold is empty); one longer than the encoder's limit is
    truncated. `seed` decides the head's first weights. The caller's encoder stays as it is:
    weights that are trained are copied, frozen ones are shared. With a frozen encoder ("head")
    each text is read once and its average remembered; only real readings enter the ledger.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        *,
        trainable: Trainable = "last-layer",
        seed: int = 0,
        batch_tokens: int = 512,
        ledger: Ledger | None = None,
    ) -> None:
        if trainable not in get_args(Trainable):
            raise ValueError(
                f"trainable is one of {', '.join(get_args(Trainable))}, not {trainable!r}"
            )
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise ValueError(f"{len(classes)} classes, {len(set(classes))} of them different")
        self.encoder = encoder
        self.classes = tuple(classes)
        self.what = trainable
        self.seed = seed
        self._number = {name: k for k, name in enumerate(self.classes)}
        self._seen: dict[bytes, Any] | None = {} if trainable == "head" else None
        super().__init__(
            _network(encoder, len(self.classes), trainable, seed),
            name=f"{encoder.name} with {len(self.classes)} classes",
            device=encoder.device,
            batch_tokens=batch_tokens,
            ledger=ledger,
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        """Encoder, classes, what is trained, and the seed of the head."""
        return {
            "learner": "encoder-classifier",
            "version": 1,
            "encoder": dict(self.encoder.facts),
            "pooling": "mean",
            "classes": list(self.classes),
            "trainable": self.what,
            "seed": self.seed,
        }

    @property
    def embedding(self) -> Any:
        """The encoder's word embeddings."""
        return self.module["encoder"].get_input_embeddings()

    def read(self, sample: Sample) -> Reading:
        """Prompt as token ids, class as the one gold number."""
        context = self.encoder.tokenize(sample.prompt)
        if len(context) > self.encoder.max_len:
            return Reading(context, _UNUSABLE, truncated=True)
        number = self._number.get(sample.response.strip())
        gold = _UNUSABLE if number is None else np.array([number], np.int64)
        return Reading(context, gold)

    def without_prompt(self, reading: Reading) -> Reading:
        """The class after an empty text: nothing but the encoder's start and end marks."""
        return Reading(self.encoder.tokenize(""), reading.gold)

    def n_read(self, reading: Reading) -> int:
        """Tokens of the prompt with the marks; the class is not read."""
        return len(reading.context)

    def gold_logits(self, readings: Sequence[Reading]) -> GoldLogits:
        """All class logits, (B, C): one gold number per reading."""
        torch = require("torch", extra="train")
        gold = torch.from_numpy(np.concatenate([reading.gold for reading in readings]))
        logits = self.module["head"](self._averages([reading.context for reading in readings]))
        return GoldLogits(logits, gold.to(self.device), (1,) * len(readings))

    def gold_logit_input_gradients(self, readings: Sequence[Reading]) -> Iterator[Floats]:
        """∂(logit of the class)/∂(input embeddings), (tokens read, d) per reading."""
        for reading in readings:
            with self._reading_anew():
                (gradient,) = super().gold_logit_input_gradients([reading])
            yield gradient

    def count(self, readings: Sequence[Reading], *, passes: int = 1) -> None:
        """Enter a batch in the ledger, without texts whose average is remembered."""
        seen = self._seen or {}
        super().count(
            [r for r in readings if not r.usable or r.context.tobytes() not in seen], passes=passes
        )

    def _averages(self, texts: Sequence[Ids]) -> Any:
        """Mean over tokens of the encoder's output, (B, d)."""
        if self._seen is None:
            return self._run(texts)
        torch = require("torch", extra="train")
        # One by one: an average must not depend, even by rounding, on whom it was computed with.
        return torch.cat([self._remembered(ids, self._seen) for ids in texts])

    def _remembered(self, ids: Ids, seen: dict[bytes, Any]) -> Any:
        torch = require("torch", extra="train")
        key = ids.tobytes()
        if key in seen:
            return seen[key]
        with torch.no_grad():
            average = self._run([ids])
        if len(seen) * average.nbytes < _REMEMBERED_BYTES:
            seen[key] = average
        return average

    def _run(self, texts: Sequence[Ids]) -> Any:
        torch = require("torch", extra="train")
        ids, mask = (torch.from_numpy(rows).to(self.device) for rows in _padded(texts))
        hidden = self.module["encoder"](input_ids=ids, attention_mask=mask).last_hidden_state
        true = mask[:, :, None].to(hidden.dtype)
        return (hidden * true).sum(dim=1) / true.sum(dim=1)

    @contextmanager
    def _reading_anew(self) -> Iterator[None]:
        # A remembered average has lost its path back to the input embeddings.
        seen, self._seen = self._seen, None
        try:
            yield
        finally:
            self._seen = seen


def _network(encoder: Encoder, n_classes: int, trainable: Trainable, seed: int) -> Any:
    """Encoder and head; parameters that are trained are copies with `requires_grad`."""
    torch = require("torch", extra="train")
    trained = {id(p) for p in _trained(encoder, trainable)}
    shared = {id(p): p for p in encoder.model.parameters() if id(p) not in trained}
    model = copy.deepcopy(encoder.model, memo=dict(shared))
    for p in model.parameters():
        if id(p) not in shared:
            p.requires_grad_()
    head = torch.nn.Linear(encoder.dim, n_classes, device=encoder.device)
    draws = np.random.default_rng(seed).normal(0.0, _HEAD_SPREAD, (n_classes, encoder.dim))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(draws))
        head.bias.zero_()
    return torch.nn.ModuleDict({"encoder": model, "head": head})


def _trained(encoder: Encoder, trainable: Trainable) -> Iterable[Any]:
    """The encoder's parameters that are trained besides the head."""
    if trainable == "head":
        return ()
    model = encoder.model
    part = model if trainable == "all" else model.get_submodule(encoder.last_block())
    return tuple(part.parameters())


def _padded(texts: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Ids (B, W) with zeros on the right, and 1 where there is a token."""
    ids = np.zeros((len(texts), max(len(text) for text in texts)), np.int64)
    mask = np.zeros_like(ids)
    for k, text in enumerate(texts):
        ids[k, : len(text)] = text
        mask[k, : len(text)] = 1
    return ids, mask
