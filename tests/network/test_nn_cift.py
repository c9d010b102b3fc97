from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import nn_cift
from influence_store.network.features import Features
from influence_store.network.figures import r_squared
from influence_store.network.judged import Pairs
from influence_store.network.labels import SeedPairs
from influence_store.schema.estimator import Affine, Head, Tower

torch = pytest.importorskip("torch")


def test_towers_and_head_equal_the_monolithic_network(planter):
    planted = planter.interaction()
    pairs, features = planted.pairs, planted.features.select(["embedding"])
    network, _ = nn_cift.train_network(pairs, features, pairs.values, seed=0)
    estimator = nn_cift.separate(network, low=0.0, span=1.0, facts={})
    x = features.values
    joined = torch.from_numpy(np.hstack([np.repeat(x, len(x), 0), np.tile(x, (len(x), 1))]))
    with torch.no_grad():
        whole = network(joined).numpy().reshape(len(x), len(x))
    assert np.abs(estimator.predict(x, x) - whole).max() < 1e-5


def test_parameters_are_those_of_the_published_size_without_the_dead_separator():
    features = Features.of({"embedding": np.eye(1024, dtype=np.float32)[:4]})
    pairs = SeedPairs(np.array([0, 1]), np.array([2, 3]), np.array([0.0, 1.0]))
    network, _ = nn_cift.train_network(pairs, features, pairs.values, seed=0)
    assert sum(p.numel() for p in network.parameters()) == 205_001


def test_hand_made_net_gives_the_values_worked_out_by_hand():
    # W₁ = [[1, 1], [1, −1]], w₂ = [¼, −¼]: f(x, y) = ¼ (relu(x + y) − relu(x − y))
    zero = np.zeros(2, np.float32)
    target = Tower((Affine(np.array([[1.0, 1.0]], np.float32), zero),), 1, 2)
    source = Tower((Affine(np.array([[1.0, -1.0]], np.float32), zero),), 1, 2)
    head = Head("relu", weight=np.array([0.25, -0.25], np.float32))
    f = lambda x, y: head(target(np.array([[x]])), source(np.array([[y]])))[0, 0]  # noqa: E731
    assert (f(2.0, 1.0), f(1.0, 2.0), f(-1.0, -1.0)) == (0.5, 0.75, 0.0)


def test_equal_labels_give_r2_zero_and_not_nan(planter):
    planted = planter.block(np.full((120, 120), 0.25))
    estimator = nn_cift.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.block("embedding")
    predicted = estimator.predict(x[:40], x[60:100])
    assert np.abs(predicted - 0.25).max() < 0.2
    flat = np.full(1600, 0.25)
    positions = np.arange(1600)
    judged = Pairs(flat, flat, positions // 40, positions % 40, positions * 0)
    assert r_squared(judged, predicted.ravel()) == 0.0


def test_training_lowers_the_error_and_is_the_same_under_the_same_seed(planter):
    planted = planter.additive()
    x = planted.features.block("embedding")
    one, other = (nn_cift.fit(planted.pairs, planted.features, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.predict(x, x), other.predict(x, x))
    scaled = (planted.pairs.values - planted.pairs.values.min()) / np.ptp(planted.pairs.values)
    assert one.facts["last_epoch_mse"] < (scaled**2).mean()
    third = nn_cift.fit(planted.pairs, planted.features, seed=2)
    assert np.abs(third.predict(x, x) - one.predict(x, x)).max() > 0


def test_torch_randomness_of_the_caller_is_left_alone(planter):
    planted = planter.additive()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    nn_cift.fit(planted.pairs, planted.features, seed=1)
    assert torch.equal(torch.rand(3), expected)
