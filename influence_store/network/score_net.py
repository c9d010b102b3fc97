"""The pointwise net as published (NN-CIFT for SelectIT, arXiv 2502.09969): the reference.

    s(x) = w₂ᵀ relu(W₁ e + b₁) + b₂,   100 hidden units, mean squared error,
    Adam with learning rate 1e-4, batches of 64, 20 epochs, labels as they are.

With the 1024 numbers of their embedder it has 102,601 weights. As in nn_cift.py we leave out the
early stop of the authors' code and take torch's default initial weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.extras import require
from influence_store.network.features import EMBEDDING
from influence_store.network.nn_cift import BATCH, EPOCHS, HIDDEN, LEARNING_RATE, one_thread
from influence_store.network.score_labels import label_facts
from influence_store.schema.estimator import Affine, Relu, ScoreEstimator, ScoreHead, Tower

if TYPE_CHECKING:
    from influence_store.network.features import Features
    from influence_store.protocols import Gains


def fit(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """Train on labels (n,) of the n rows of `features`; reads the block `embedding` only."""
    read = features.select([EMBEDDING])
    network, loss = train_network(values, read, seed=seed)
    facts = {
        "labels": label_facts(values),
        "seed": seed,
        "scale": "raw",
        "hidden": HIDDEN,
        "learning_rate": LEARNING_RATE,
        "batch": BATCH,
        "epochs": EPOCHS,
        "last_epoch_mse": loss,
    }
    layers = (_affine(network[0]), Relu(), _affine(network[2]))
    tower = Tower(layers, read.values.shape[1], 1)
    return ScoreEstimator("score-net", read.names, read.dims, tower, ScoreHead("affine"), facts)


def train_network(values: Gains, embedding: Features, *, seed: int) -> tuple[Any, float]:
    """The trained torch module, (b, dim) → (b, 1), and the mean loss of the last epoch."""
    torch = require("torch", extra="train")
    x = torch.from_numpy(embedding.values)
    goal = torch.from_numpy(values.astype(np.float32))[:, None]
    with torch.random.fork_rng(devices=[]), one_thread(torch):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        total = 0.0
        for _ in range(EPOCHS):
            total = 0.0
            for batch in torch.randperm(len(goal)).split(BATCH):
                loss = torch.nn.functional.mse_loss(network(x[batch]), goal[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(batch)
    return network.eval(), total / len(goal)


def _affine(linear: Any) -> Affine:
    weight = linear.weight.detach().numpy().T
    return Affine(weight.copy(), linear.bias.detach().numpy().copy())
