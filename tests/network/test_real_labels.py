"""What the docs claim about the estimators, on real teacher values (see the `data` marker)."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import NETWORKS
from influence_store.network.features import Features, lengths
from influence_store.network.figures import Figures, figures
from influence_store.network.judged import Pairs
from influence_store.network.labels import SeedPairs, usable
from influence_store.network.predict import predict_pairs
from influence_store.network.train import train

pytestmark = pytest.mark.data

SIDE = 60  # seed block: 60 targets × 60 sources of 800 × 800


@pytest.fixture(scope="module")
def less(data_folder) -> tuple[np.ndarray, Features]:
    """Gradient similarity of 800 samples, and their features."""
    held = np.load(data_folder / "labels" / "less_C.npz")
    features = Features.of(
        {
            "embedding": held["minilm"].astype(np.float32),
            "lengths": lengths(held["prompt_tokens"], held["response_tokens"]),
            "llm-hidden": held["hidden15"].astype(np.float32),
            "llm-scalars": np.stack([held["nll"], held["d0"]], axis=1),
        }
    )
    return held["less"].astype(np.float64), features


def seed_block(labels: np.ndarray, features: Features, seed: int) -> tuple[SeedPairs, Pairs]:
    """A labelled block, and 40 targets × 340 sources of which no sample was labelled."""
    order = np.random.default_rng(seed).permutation(len(labels))
    t, s = (x.ravel() for x in np.meshgrid(order[:SIDE], order[SIDE : 2 * SIDE]))
    pairs = usable(t, s, labels[t, s], features.block("embedding"))
    a, b = (x.ravel() for x in np.meshgrid(order[-40:], order[2 * SIDE :: 2], indexing="ij"))
    a, b = a[a != b], b[a != b]
    return pairs, Pairs(labels[a, b], np.full(len(a), pairs.values.mean()), a, b, a * 0)


def judged(name: str, pairs: SeedPairs, unseen: Pairs, features: Features) -> Figures:
    estimator = NETWORKS.get(name)(pairs, features, seed=0)
    return figures(unseen, predict_pairs(estimator, features, unseen.targets, unseen.sources))


def test_kernel_ridge_beats_cosine_additive_ridge_and_mean_on_unseen_samples(less):
    labels, features = less
    pairs, unseen = seed_block(labels, features, seed=0)
    ridge = judged("two-step-kernel-ridge", pairs, unseen, features)
    assert ridge.r2 > 0.15
    for baseline in ("cosine", "additive-ridge"):
        other = judged(baseline, pairs, unseen, features)
        assert ridge.r2 > other.r2 + 0.05, baseline
        assert ridge.spearman_per_target > other.spearman_per_target + 0.03, baseline


def test_published_network_is_worse_than_the_mean(less):
    pytest.importorskip("torch")
    labels, features = less
    pairs, unseen = seed_block(labels, features, seed=0)
    assert judged("nn-cift", pairs, unseen, features).r2 < 0


def test_cosine_with_a_correction_keeps_the_best_sources_and_the_error(less):
    labels, features = less
    pairs, unseen = seed_block(labels, features, seed=0)
    names = ("cosine", "two-step-kernel-ridge", "residual-on-cosine")
    cosine, ridge, both = (judged(name, pairs, unseen, features) for name in names)
    best = {figures_of: figures_of.top_k[0].overlap for figures_of in (cosine, ridge, both)}
    assert best[both] > best[ridge] + 0.03
    assert both.r2 > cosine.r2 + 0.1


def test_the_card_of_a_small_seed_foretells_what_unseen_samples_show(less):
    labels, features = less
    pairs, unseen = seed_block(labels, features, seed=0)
    trained = train(pairs, features, networks=["two-step-kernel-ridge"], seed=0)
    assert trained.card.verdict == "trusted"
    truth = judged(trained.estimator.network, pairs, unseen, features)
    assert trained.card.own.r2 == pytest.approx(truth.r2, abs=0.12)
    assert trained.card.spearman.low - 0.05 < truth.spearman_per_target
    assert truth.spearman_per_target < trained.card.spearman.high + 0.05
