"""Leaving labels out in closed form is the same as refitting without them."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.network import kernel_ridge
from influence_store.network.features import Features
from influence_store.network.labels import SeedPairs
from influence_store.network.product_system import LeftOut, leave_out

TARGET_RIDGE, SOURCE_RIDGE = 0.3, 0.07


def block(n_t: int = 13, n_s: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    t, s = rng.normal(size=(n_t, 4)), rng.normal(size=(n_s, 4))
    k_t = np.exp(-0.2 * ((t[:, None] - t[None]) ** 2).sum(-1))
    k_s = s @ s.T + 0.5
    return k_t, k_s, 3.0 + rng.normal(size=(n_t, n_s))


def refitted(
    k_t: np.ndarray,
    k_s: np.ndarray,
    y: np.ndarray,
    i: int,
    j: int,
    rows: list[int],
    cols: list[int],
) -> float:
    """Cell (i, j) by two-step kernel ridge on the labels at rows × cols."""
    kept = y[np.ix_(rows, cols)]
    mean = kept.mean()
    g_t = k_t[np.ix_(rows, rows)] + TARGET_RIDGE * np.eye(len(rows))
    g_s = k_s[np.ix_(cols, cols)] + SOURCE_RIDGE * np.eye(len(cols))
    weights = np.linalg.solve(g_t, np.linalg.solve(g_s, (kept - mean).T).T)
    return float(k_t[i, rows] @ weights @ k_s[cols, j] + mean)


@pytest.mark.parametrize("seen", ["target", "source", "both"])
def test_every_cell_is_what_a_fit_without_its_samples_predicts(seen):
    k_t, k_s, y = block()
    n, m = y.shape
    expected = np.empty_like(y)
    for i in range(n):
        for j in range(m):
            rows = [r for r in range(n) if seen == "source" or r != i]
            cols = [c for c in range(m) if seen == "target" or c != j]
            expected[i, j] = refitted(k_t, k_s, y, i, j, rows, cols)
    got = getattr(leave_out(k_t, k_s, y, TARGET_RIDGE, SOURCE_RIDGE), seen)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def parts(left: LeftOut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return left.target, left.source, left.both


def test_a_label_says_nothing_about_itself():
    k_t, k_s, y = block()
    changed = y.copy()
    changed[4, 2] += 100.0
    before, after = (
        parts(leave_out(k_t, k_s, v, TARGET_RIDGE, SOURCE_RIDGE)) for v in (y, changed)
    )
    for one, other in zip(before, after, strict=True):
        assert other[4, 2] == pytest.approx(one[4, 2], abs=1e-9)
    np.testing.assert_allclose(after[0][4], before[0][4], atol=1e-9)  # its target is unseen
    np.testing.assert_allclose(after[1][:, 2], before[1][:, 2], atol=1e-9)  # its source is unseen
    assert np.abs(after[2][5] - before[2][5]).max() > 1e-3


def test_turning_the_block_turns_the_answers():
    k_t, k_s, y = block()
    one = leave_out(k_t, k_s, y, TARGET_RIDGE, SOURCE_RIDGE)
    turned = leave_out(k_s, k_t, y.T, SOURCE_RIDGE, TARGET_RIDGE)
    np.testing.assert_allclose(turned.source.T, one.target, atol=1e-9)
    np.testing.assert_allclose(turned.both.T, one.both, atol=1e-9)


def test_a_constant_added_to_the_labels_is_added_to_the_answers():
    k_t, k_s, y = block()
    one, other = (leave_out(k_t, k_s, v, TARGET_RIDGE, SOURCE_RIDGE) for v in (y, y + 7.0))
    for before, after in zip(parts(one), parts(other), strict=True):
        np.testing.assert_allclose(after, before + 7.0, atol=1e-9)


def test_the_stored_estimator_refitted_without_two_samples_predicts_the_same():
    """Through `kernel_ridge.fit`; every sample has both roles, so leaving one role keeps scales."""
    rng = np.random.default_rng(1)
    features = Features.of({"embedding": rng.normal(size=(12, 3)).astype(np.float32)})
    x = features.values
    t, s = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(12), indexing="ij"))
    y = rng.normal(size=(12, 12))
    pairs = SeedPairs(t, s, y.ravel())
    settings = kernel_ridge.Settings(0.5, TARGET_RIDGE, SOURCE_RIDGE)
    scale, expansion, _ = kernel_ridge.fit(
        pairs, features, seed=0, settings=settings
    ).target_tower.layers
    k = expansion(scale(x.astype(np.float64)))
    left = leave_out(k, k, y, TARGET_RIDGE, SOURCE_RIDGE).both
    for i, j in [(0, 1), (3, 8), (11, 4)]:
        fewer = pairs.take((pairs.targets != i) & (pairs.sources != j))
        again = kernel_ridge.fit(fewer, features, seed=0, settings=settings)
        assert again.predict(x[[i]], x[[j]])[0, 0] == pytest.approx(left[i, j], abs=2e-3)
    assert np.abs(left - y).max() > 0.5
