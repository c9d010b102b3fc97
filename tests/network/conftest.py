"""Planted labels whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from influence_store.network.features import Features
from influence_store.network.labels import SeedPairs, usable


@dataclass(frozen=True)
class Planted:
    """Labels of a block of targets × sources of `features`, and the noise-free matrix of all."""

    pairs: SeedPairs
    features: Features
    truth: np.ndarray


class Planter:
    def __init__(self, n: int = 120, dim: int = 12, seed: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        raw = self.rng.normal(size=(n, dim))
        self.embedding = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
        lengths = self.rng.normal(4.0, 0.5, size=(n, 2)).astype(np.float32)
        self.features = Features.of({"embedding": self.embedding, "lengths": lengths})

    def block(self, truth: np.ndarray, noise: float = 0.0, size: int = 40) -> Planted:
        """Label targets 0..size × sources 60..60+size (no sample in both roles)."""
        t, s = (a.ravel() for a in np.meshgrid(np.arange(size), 60 + np.arange(size)))
        spread = truth[t, s].std() or 1.0
        values = truth[t, s] + noise * spread * self.rng.normal(size=len(t))
        return Planted(usable(t, s, values, self.embedding), self.features, truth)

    def additive(self, noise: float = 0.0) -> Planted:
        a, b = self.rng.normal(size=(2, self.embedding.shape[1]))
        return self.block((self.embedding @ a)[:, None] + (self.embedding @ b)[None, :], noise)

    def interaction(self, noise: float = 0.0) -> Planted:
        left, right = self.rng.normal(size=(2, self.embedding.shape[1], 2))
        return self.block((self.embedding @ left) @ (self.embedding @ right).T, noise)

    def cosine(self, noise: float = 0.0) -> Planted:
        return self.block(0.3 * self.embedding @ self.embedding.T + 0.1, noise)

    def noise(self) -> Planted:
        n = len(self.embedding)
        return self.block(self.rng.normal(size=(n, n)))


@pytest.fixture
def planter() -> Planter:
    return Planter()
