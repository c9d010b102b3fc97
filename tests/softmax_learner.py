"""Softmax regression in numpy behind the part of the `Learner` seam that reads predictions.

A prompt is numbers ("3 4"), a response is class numbers ("0", or "0 2 1" for three gold tokens
that are all predicted from the same prompt). Weights are (classes, features + 1), bias last; a
blind prediction sees the bias only.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from influence_store.influence.checkpoints import Checkpoint
from influence_store.influence.learner import GoldStats, Reading
from influence_store.protocols import Ledger

NONE = np.zeros(0, np.int64)


class SoftmaxLearner:
    name = "softmax regression"

    def __init__(self, n_classes=3, n_features=2):
        self.shape = (n_classes, n_features + 1)
        self.n_parameters = n_classes * (n_features + 1)
        self.facts = {"shape": list(self.shape)}
        self.ledger = Ledger()
        self.weights = None

    def read(self, sample):
        context = np.array(sample.prompt.split(), np.int64)
        if len(context) >= self.shape[1]:
            return Reading(context, NONE, truncated=True)
        return Reading(context, np.array(sample.response.split(), np.int64))

    @contextmanager
    def at(self, checkpoint):
        before, self.weights = self.weights, checkpoint.weights.reshape(self.shape)
        yield
        self.weights = before

    def stats(self, readings, *, blind=False):
        self.ledger.llm_passes += len(readings)
        return [self._stats(reading, blind) for reading in readings]

    def _stats(self, reading, blind):
        x = np.append(reading.context * (not blind), 1.0)
        logits = self.weights.astype(np.float64) @ x
        logp = logits - np.logaddexp.reduce(logits)
        p = np.exp(logp)
        gold = reading.gold
        hit = (gold == np.argmax(p)).astype(np.int64)
        return GoldStats(logp[gold], np.full(len(gold), (p**2).sum()), hit)


def checkpoint(weights, step=1):
    """A checkpoint of (classes, features + 1) weights."""
    flat = np.asarray(weights, np.float32).ravel()
    zero = np.zeros_like(flat)
    return Checkpoint(step, 1e-3, flat, zero, zero)


def predicting(*p, features=2, step=1):
    """A checkpoint that gives the classes these probabilities whatever the prompt."""
    weights = np.zeros((len(p), features + 1))
    weights[:, -1] = np.log(p)
    return checkpoint(weights, step)


def with_slope(given, x_weight):
    """`given` with `x_weight` (classes,) on the first feature."""
    weights = given.weights.copy().reshape(len(x_weight), -1)
    weights[:, 0] = x_weight
    return replace(given, weights=weights.ravel())
