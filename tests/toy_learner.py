"""A learner small enough to check by hand: softmax or least-squares regression in numpy.

A sample is `Sample.of("3 4", "1")`: x = (3, 4), class (or y) = 1. It is truncated if x has more
numbers than the model, and unusable if the response is no number.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from influence_store.influence.checkpoints import Checkpoint
from influence_store.influence.learner import Reading
from influence_store.protocols import Ledger
from influence_store.schema.sample import Sample


class ToyLearner:
    name = "toy"

    def __init__(self, n_features, n_classes=1, *, bias=False):
        """One class means ½(w·x − y)², more mean cross-entropy of softmax(W x + b)."""
        self.shape = (n_classes, n_features + bias)
        self.n_features, self.bias = n_features, bias
        self.n_parameters = n_classes * (n_features + bias)
        self.weights = np.zeros(self.shape, np.float64)
        self.ledger = Ledger()
        self.facts = {"learner": "toy", "shape": list(self.shape)}

    def read(self, sample: Sample) -> Reading:
        x = np.array([float(one) for one in sample.prompt.split()])
        gold = [int(sample.response)] if sample.response.lstrip("-").isdigit() else []
        truncated = len(x) > self.n_features
        return Reading(x, np.array([] if truncated else gold, np.int64), truncated)

    @contextmanager
    def at(self, checkpoint):
        before = self.weights
        self.weights = np.asarray(checkpoint.weights, np.float64).reshape(self.shape)
        try:
            yield
        finally:
            self.weights = before

    def gradient(self, reading):
        """dℓ/dW in float64, (n_classes, n_features [+ 1])."""
        x = self._inputs(reading)
        logits = self.weights @ x
        if self.shape[0] == 1:
            return (logits - reading.gold[0])[:, None] * x
        p = np.exp(logits - logits.max())
        p /= p.sum()
        p[reading.gold[0]] -= 1.0
        return np.outer(p, x)

    def loss(self, reading):
        logits = self.weights @ self._inputs(reading)
        if self.shape[0] == 1:
            return 0.5 * (logits[0] - reading.gold[0]) ** 2
        return np.log(np.exp(logits).sum()) - logits[reading.gold[0]]

    def gradients(self, readings):
        for reading in readings:
            self.ledger.llm_passes += 1
            yield self.gradient(reading).ravel().astype(np.float32)

    def gradient_norms(self, readings):
        self.ledger.llm_passes += len(readings)
        return np.array([np.linalg.norm(self.gradient(reading)) for reading in readings])

    def gold_logit_input_gradients(self, readings):
        for reading in readings:
            self.ledger.llm_passes += 1
            yield self.weights[reading.gold[0], : self.n_features][None, :].astype(np.float32)

    def _inputs(self, reading):
        return np.append(reading.context, 1.0) if self.bias else reading.context


def toy_sample(x, y):
    return Sample.of(" ".join(str(float(one)) for one in x), str(y))


def toy_checkpoint(weights, *, rate=0.1, m=0.0, v=0.0, step=1):
    flat = np.asarray(weights, np.float32).ravel()
    return Checkpoint(
        step=step,
        learning_rate=rate,
        weights=flat,
        exp_avg=np.broadcast_to(np.asarray(m, np.float32), flat.shape).copy(),
        exp_avg_sq=np.broadcast_to(np.asarray(v, np.float32), flat.shape).copy(),
    )


def random_task(seed, *, n=9, n_features=5, n_classes=3, n_checkpoints=2):
    """A softmax learner, its checkpoints with moments as after some steps, and samples."""
    rng = np.random.default_rng(seed)
    learner = ToyLearner(n_features, n_classes)
    size = learner.n_parameters
    checkpoints = [
        toy_checkpoint(
            rng.normal(size=size),
            rate=0.1 / (k + 1),
            m=0.05 * rng.normal(size=size),
            v=0.1 * rng.random(size),
            step=k + 1,
        )
        for k in range(n_checkpoints)
    ]
    classes = rng.integers(n_classes, size=n)
    samples = [toy_sample(rng.normal(size=n_features), y) for y in classes]
    return learner, checkpoints, samples
