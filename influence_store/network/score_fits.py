"""Students of a pointwise teacher, from the mean to kernel ridge: `fit(values, features, *, seed)`.

`values` (n,) are the labels of the n rows of `features`. All but the mean learn the *rank* of a
label among the labels, (rank − ½)/n in (0, 1), and answer with the labels' quantile function of the
predicted rank. So they are the same for nats and for perplexity, and one huge label cannot bend
them. On 640 of the 800 samples of less_C.npz (labels exp(nll), 6 splits) kernel ridge ranks unseen
samples at ρ .71 this way, .40 on raw labels, .58 on labels cut at their 5 % and 95 % quantiles;
where labels have no long tail (nll) the three are .71, .70 and .70.

A predicted rank is a mean and therefore drawn towards ½: the largest scores are under-estimated,
which the calibration slope of the card tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.network.features import EMBEDDING, LENGTHS
from influence_store.network.ridge import kernel_ridge, linear_ridge
from influence_store.network.score_labels import label_facts
from influence_store.schema.estimator import Affine, ScoreEstimator, ScoreHead, Softmax, Tower, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.network.features import Features
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import Layer

#: Levels of the stored quantile function: every 1/64, none beyond the 1 % and 99 % quantile. A
#: linear fit may predict ranks beyond 1, and one huge label shall be nobody's estimate.
LEVELS = np.clip(np.linspace(0.0, 1.0, 65), 0.01, 0.99)
#: β of exp(β cos): from a broad mean to almost the nearest neighbour alone.
SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
MAX_NEIGHBOURS = 4096


def fit_mean(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """s = mean of the labels: the estimate whose R² is 0 and whose order is none."""
    d = features.values.shape[1]
    tower = Tower((Affine(np.zeros((d, 1), np.float32), np.zeros(1, np.float32)),), d, 1)
    head = ScoreHead("affine", 1.0, float(values.mean()))
    facts = {"labels": label_facts(values), "seed": seed}
    return ScoreEstimator("mean", features.names, features.dims, tower, head, facts)


def fit_length(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """Ridge on the log lengths of prompt and response alone: what an estimator must beat.

    Scores that follow length are common, and length is free.
    """
    read = features.select([LENGTHS])
    smoother = linear_ridge(ranks(values)[:, None], read)
    facts = {"ridge": float(smoother.strengths[0])}
    return _on_ranks("length", values, read, smoother.layers, seed, facts)


def fit_ridge(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """Ridge on all features, its strength by leave-one-out error."""
    smoother = linear_ridge(ranks(values)[:, None], features)
    facts = {"ridge": float(smoother.strengths[0])}
    return _on_ranks("ridge", values, features, smoother.layers, seed, facts)


def fit_neighbours(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """Mean of the labelled neighbours, each weighing exp(β cos): a kNN without its edge.

    This is kernel smoothing (Nadaraya 1964, Watson 1964) with a Gaussian kernel on unit
    embeddings, where ‖e − e'‖² = 2 − 2 cos. The k nearest counted equally would jump where the
    k-th changes and need a sort per row; β plays the part of k, chosen by leave-one-out error.
    """
    read = features.select([EMBEDDING])
    d = read.values.shape[1]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(values))[:MAX_NEIGHBOURS])
    unit = Unit(0, d)(read.values[chosen].astype(np.float64))
    rank = ranks(values)[chosen]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    sharpness = min(SHARPNESS, key=lambda beta: _smoothing_error(beta * cosine, rank))
    layers = (
        Unit(0, d),
        Affine((sharpness * unit.T).astype(np.float32), np.zeros(len(unit), np.float32)),
        Softmax(),
        Affine(rank[:, None].astype(np.float32), np.zeros(1, np.float32)),
    )
    facts = {"sharpness": sharpness, "neighbours": len(chosen)}
    return _on_ranks("neighbours", values, read, layers, seed, facts)


def fit_kernel_ridge(values: Gains, features: Features, *, seed: int) -> ScoreEstimator:
    """Kernel ridge with Gaussian kernels; width and strength by leave-one-out error."""
    smoother = kernel_ridge(ranks(values)[:, None], features, seed=seed)
    facts = {"ridge": float(smoother.strengths[0]), "gamma": smoother.gamma}
    return _on_ranks("kernel-ridge", values, features, smoother.layers, seed, facts)


def ranks(values: Gains) -> Gains:
    """(rank − ½)/n in (0, 1), equal labels sharing their mean rank."""
    from scipy.stats import rankdata  # takes a second

    found: Gains = (rankdata(values) - 0.5) / len(values)
    return found


def _on_ranks(
    network: str,
    values: Gains,
    features: Features,
    layers: tuple[Layer, ...],
    seed: int,
    facts: Mapping[str, Any],
) -> ScoreEstimator:
    """The estimator whose tower gives ranks and whose head gives them back as labels."""
    quantiles = np.quantile(values, LEVELS)
    return ScoreEstimator(
        network,
        features.names,
        features.dims,
        Tower(layers, features.values.shape[1], 1),
        ScoreHead("quantiles", quantiles=quantiles),
        {"labels": label_facts(values), "seed": seed, "scale": "rank", **facts},
    )


def _smoothing_error(logits: Gains, rank: Gains) -> float:
    return float(((Softmax()(logits) @ rank - rank) ** 2).mean())
