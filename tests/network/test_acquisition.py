from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.network.acquisition import (
    DOUBT,
    Change,
    believed,
    change,
    drawn,
    next_pairs,
    settled,
)

NAN = np.nan


def test_labels_stand_in_the_kernel_and_estimates_fill_the_rest():
    estimate = np.array([[1.0, 2.0], [3.0, 4.0]])
    labels = np.array([[NAN, -5.0], [0.0, NAN]])
    assert believed(estimate, labels).tolist() == [[1.0, -5.0], [0.0, 4.0]]


def test_a_draw_doubts_estimates_by_half_a_deviation_and_labels_not_at_all():
    rng = np.random.default_rng(0)
    estimate = rng.normal(size=(200, 150))
    labels = np.where(rng.random(estimate.shape) < 0.3, rng.normal(0, 3, estimate.shape), NAN)
    draw = drawn(estimate, labels, np.random.default_rng(1))
    known = ~np.isnan(labels)
    assert np.array_equal(draw[known], labels[known])
    doubt = (draw - estimate)[~known]
    assert doubt.std() == pytest.approx(DOUBT * labels[known].std(), rel=0.02)
    assert abs(doubt.mean()) < 0.05
    assert not np.array_equal(draw, drawn(estimate, labels, np.random.default_rng(2)))


def by_turns(draw, open_, asked, candidates, n_pairs):
    """The rule, one pair at a time."""
    left, count, out = open_.copy(), asked.copy(), []
    while len(out) < n_pairs and left.any():
        offers = []
        for i in np.flatnonzero(left.any(axis=1)):
            inside = [j for j in candidates if left[i, j]]
            j = max(inside or np.flatnonzero(left[i]), key=lambda j: draw[i, j])
            offers.append((count[i], -draw[i, j], i, j))
        _, _, i, j = min(offers)
        out.append((i, j))
        left[i, j] = False
        count[i] += 1
    return out


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    n_pairs=st.integers(0, 70),
    filled=st.floats(0, 1),
)
def test_targets_take_turns_and_name_their_best_open_candidate(seed, shape, n_pairs, filled):
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=shape)
    open_ = rng.random(shape) >= filled
    asked = rng.integers(0, 4, shape[0])
    candidates = rng.permutation(shape[1])[: rng.integers(0, shape[1] + 1)]
    targets, sources = next_pairs(draw, open_, asked, candidates, n_pairs)
    found = list(zip(targets.tolist(), sources.tolist(), strict=True))
    assert found == by_turns(draw, open_, asked, candidates, n_pairs)


def test_change_measures_worth_between_a_random_set_and_todays():
    kernel = np.random.default_rng(3).normal(size=(30, 8))

    def worth(chosen):
        return kernel[:, list(chosen)].max(axis=1).sum()

    before, after = np.array([0, 1, 2]), np.array([2, 5, 6])
    random = np.mean([worth(one) for one in combinations(range(8), 3)])
    found = change(kernel, before, after)
    assert found.overlap == pytest.approx(1 / 5)
    assert found.kept == pytest.approx((worth(before) - random) / (worth(after) - random))
    assert change(kernel, after, after) == Change(1.0, 1.0)


def test_settled_needs_two_small_changes_in_a_row():
    same, worth, other = Change(0.9, 0.5), Change(0.2, 0.99), Change(0.89, 0.98)
    assert settled([other, same, worth])
    assert not settled([same, worth, other])
    assert not settled([same, other, worth])
    assert not settled([same])
    assert not settled([])


def test_asking_where_it_may_change_finds_a_planted_set_with_fewer_labels_than_chance():
    """Three sources serve one group of targets each, the others nobody; estimates know nothing."""
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 0.1, (60, 40))
    for group, j in enumerate((7, 19, 33)):
        truth[group::3, j] += 1.0

    def covered(labels):
        best = np.nanmax(np.where(np.isnan(labels), -1.0, labels), axis=1)
        return int((best > 0.5).sum())

    labels = np.full(truth.shape, NAN)
    first = rng.permutation(truth.size)[:120]
    labels.ravel()[first] = truth.ravel()[first]
    by_chance = labels.copy()
    more = rng.permutation(np.flatnonzero(np.isnan(labels)))[:600]
    by_chance.ravel()[more] = truth.ravel()[more]
    for _ in range(10):
        # A column's own labels are all that this estimate goes by.
        known = ~np.isnan(labels)
        sums, counts = np.where(known, labels, 0.0).sum(axis=0), known.sum(axis=0)
        estimate = np.broadcast_to(sums / (counts + 1.0), truth.shape)
        draw = drawn(estimate, labels, rng)
        best = np.argsort(-draw.mean(axis=0))[:16]
        asked = next_pairs(draw, ~known, known.sum(axis=1), best, 60)
        labels[asked] = truth[asked]
    assert covered(labels) >= 50
    assert covered(by_chance) <= 35
