"""Regressions that offer the parts of the Learner seam in closed form: the oracles' models.

A sample's prompt spells its features ("1 0.5"), its response the number or sign to predict.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from scipy.special import expit

from influence_store.influence.checkpoints import Checkpoint
from influence_store.influence.learner import GoldStats, Reading
from influence_store.protocols import Ledger
from influence_store.schema.sample import Sample


def sample(x, y) -> Sample:
    return Sample.of(" ".join(repr(float(v)) for v in np.atleast_1d(x)), repr(float(y)))


def samples(X, y) -> list[Sample]:
    return [sample(row, value) for row, value in zip(X, y, strict=True)]


def checkpoint(theta, step=1, learning_rate=0.1) -> Checkpoint:
    weights = np.asarray(theta, np.float32)
    zero = np.zeros_like(weights)
    return Checkpoint(step, learning_rate, weights, zero, zero)


class LinearRegression:
    """Loss ½ (θ·x − y)², without a penalty; a prompt of more than `n` features does not fit."""

    name = "linear-regression"

    def __init__(self, n: int) -> None:
        self.n_parameters = n
        self.parameter_names = ("theta",)
        self.theta = np.zeros(n)
        self.ledger = Ledger()
        self._rows: list[tuple[np.ndarray, float]] = []

    @property
    def facts(self):
        return {"learner": self.name, "n": self.n_parameters}

    def read(self, one: Sample) -> Reading:
        nothing = np.zeros(0, np.int64)
        x = np.array([float(v) for v in one.prompt.split()])
        if len(x) > self.n_parameters:
            return Reading(nothing, nothing, truncated=True)
        if not one.response:
            return Reading(nothing, nothing)
        self._rows.append((x, float(one.response)))
        return Reading(np.array([len(self._rows) - 1]), np.zeros(1, np.int64))

    @contextmanager
    def at(self, one: Checkpoint):
        before, self.theta = self.theta, one.weights.astype(np.float64)
        try:
            yield
        finally:
            self.theta = before

    def gradients(self, readings):
        self.ledger.llm_passes += len(readings)
        X, y = self._arrays(readings)
        yield from (self._slopes(X, y)[:, None] * X).astype(np.float32)

    def gradient_norms(self, readings):
        return np.array([np.linalg.norm(g) for g in self.gradients(readings)])

    def hessian_product(self, readings, vector):
        self.ledger.llm_passes += 2 * len(readings)
        X, y = self._arrays(readings)
        curved = self._curvatures(X, y) * (X @ vector.astype(np.float64))
        return (X.T @ curved / len(X)).astype(np.float32)

    def _arrays(self, readings):
        rows = [self._rows[int(reading.context[0])] for reading in readings]
        return np.array([x for x, _ in rows]), np.array([y for _, y in rows])

    def _slopes(self, X, y):
        return X @ self.theta - y

    def _curvatures(self, X, y):
        return np.ones(len(X))


class LogisticRegression(LinearRegression):
    """Loss −log σ(y θ·x) of the sign y = ±1: one gold token."""

    name = "logistic-regression"

    def stats(self, readings, *, blind=False):
        self.ledger.llm_passes += len(readings)
        X, y = self._arrays(readings)
        return [self._stats(margin) for margin in y * (X @ self.theta)]

    def _stats(self, margin):
        logp = -np.logaddexp(0.0, -margin)
        p = np.exp(logp)
        return GoldStats(
            np.array([logp]), np.array([p**2 + (1 - p) ** 2]), np.array([int(margin > 0)])
        )

    def _slopes(self, X, y):
        return -y * expit(-y * (X @ self.theta))

    def _curvatures(self, X, y):
        p = expit(y * (X @ self.theta))
        return p * (1.0 - p)


def fit_logistic(X, y, penalty: float) -> np.ndarray:
    """θ that minimises mean −log σ(y θ·x) + ½ penalty ‖θ‖², by Newton steps."""
    theta = np.zeros(X.shape[1])
    for _ in range(50):
        p = expit(y * (X @ theta))
        gradient = -(X * ((1 - p) * y)[:, None]).mean(axis=0) + penalty * theta
        hessian = (X * (p * (1 - p))[:, None]).T @ X / len(X) + penalty * np.eye(len(theta))
        theta -= np.linalg.solve(hessian, gradient)
    return theta
