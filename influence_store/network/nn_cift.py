"""The InfluenceNetwork exactly as published (NN-CIFT, arXiv 2502.09969): the reference.

    f(i, j) = w₂ᵀ relu(W₁ [e_i ; e_j] + b₁) + b₂,   100 hidden units, mean squared error,
    Adam with learning rate 1e-4, batches of 64, 20 epochs.

Labels are mapped to [0, 1] by the seed's least and greatest value, as the authors' code does for
DELIFT; the map back is part of the head. We leave out two things of that code: the constant 0
between the embeddings (its weights never receive a gradient) and the early stop (it divides by
the number of features instead of the number of batches). Initial weights are torch's default.

The first layer is a sum of a target part and a source part, hence the estimator separates:
p_i = W₁ₐ e_i, q_j = W₁ᵦ e_j + b₁, and a pair costs 300 operations instead of 410,000.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.extras import require
from influence_store.network.features import EMBEDDING
from influence_store.schema.estimator import Affine, Head, PairEstimator, Tower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs

HIDDEN = 100
LEARNING_RATE = 1e-4
BATCH = 64
EPOCHS = 20


def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """Train on `pairs` and take the network apart; reads the block `embedding` only."""
    embedding = features.select([EMBEDDING])
    low, span = float(pairs.values.min()), float(np.ptp(pairs.values)) or 1.0
    network, loss = train_network(pairs, embedding, (pairs.values - low) / span, seed=seed)
    facts = {
        "labels": pairs.facts(),
        "seed": seed,
        "hidden": HIDDEN,
        "learning_rate": LEARNING_RATE,
        "batch": BATCH,
        "epochs": EPOCHS,
        "last_epoch_mse": loss,
    }
    return separate(network, low, span, facts)


def train_network(
    pairs: SeedPairs, embedding: Features, labels: np.ndarray[Any, Any], *, seed: int
) -> tuple[Any, float]:
    """The trained torch module, (b, 2·dim) → (b, 1), and the mean loss of the last epoch."""
    torch = require("torch", extra="train")
    vectors = torch.from_numpy(embedding.values)
    targets, sources = torch.from_numpy(pairs.targets), torch.from_numpy(pairs.sources)
    goal = torch.from_numpy(labels.astype(np.float32))[:, None]
    with torch.random.fork_rng(devices=[]), one_thread(torch):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(2 * vectors.shape[1], HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, 1),
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        total = 0.0
        for _ in range(EPOCHS):
            total = 0.0
            for batch in torch.randperm(len(goal)).split(BATCH):
                joined = torch.cat([vectors[targets[batch]], vectors[sources[batch]]], dim=1)
                loss = torch.nn.functional.mse_loss(network(joined), goal[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(batch)
    return network.eval(), total / len(goal)


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """Matrices this small lose twentyfold to waiting threads on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def separate(network: Any, low: float, span: float, facts: dict[str, Any]) -> PairEstimator:
    """Towers and head of a module Linear(2d, h) → ReLU → Linear(h, 1); labels back to raw."""
    first, last = network[0], network[2]
    weight = first.weight.detach().numpy().T
    dim, hidden = weight.shape[0] // 2, weight.shape[1]
    target = Affine(weight[:dim].copy(), np.zeros(hidden, np.float32))
    source = Affine(weight[dim:].copy(), first.bias.detach().numpy().copy())
    head = Head(
        "relu",
        scale=span,
        offset=low + span * float(last.bias.detach()),
        weight=last.weight.detach().numpy()[0].copy(),
    )
    return PairEstimator(
        network="nn-cift",
        features=(EMBEDDING,),
        dims=(dim,),
        target_tower=Tower((target,), dim, hidden),
        source_tower=Tower((source,), dim, hidden),
        head=head,
        facts=facts,
    )
