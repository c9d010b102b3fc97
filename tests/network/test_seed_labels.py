from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import InputError
from influence_store.network.labels import SeedPairs, folds, usable

EMBEDDING = np.eye(6, dtype=np.float32)


def scattered(n: int = 60, count: int = 900, seed: int = 0) -> SeedPairs:
    rng = np.random.default_rng(seed)
    cells = rng.choice(n * n, count, replace=False)
    keep = cells // n != cells % n
    return SeedPairs(cells[keep] // n, cells[keep] % n, rng.normal(size=int(keep.sum())))


def test_unlabelled_self_and_near_duplicate_pairs_are_dropped_and_counted():
    embedding = EMBEDDING.copy()
    embedding[5] = embedding[4] + 0.01
    pairs = usable([0, 1, 2, 4, 3], [1, 1, 3, 5, 0], [0.5, 9.0, np.nan, 9.0, -0.5], embedding)
    assert pairs.targets.tolist() == [0, 3]
    assert pairs.values.tolist() == [0.5, -0.5]
    assert pairs.dropped == {"unlabelled": 1, "self pair": 1, "near-duplicate": 1}
    assert pairs.facts()["dropped: self pair"] == 1


def test_a_pair_labelled_twice_is_refused():
    with pytest.raises(InputError, match="1 of 2 pairs are labelled more than once"):
        usable([0, 0], [1, 1], [0.1, 0.2], EMBEDDING)


def test_every_pair_is_judged_exactly_once_with_both_samples_unseen():
    pairs = scattered()
    judged = sum(fold.quadrants["Q4"].astype(int) for fold in folds(pairs, seed=1))
    assert (judged == 1).all()


def test_quadrants_say_truly_which_side_was_seen():
    pairs = scattered()
    for fold in folds(pairs, seed=1):
        rows, columns = set(pairs.targets[fold.fit]), set(pairs.sources[fold.fit])
        for name, row_seen, column_seen in (
            ("Q1", True, True),
            ("Q2", True, False),
            ("Q3", False, True),
            ("Q4", False, False),
        ):
            mask = fold.quadrants[name]
            assert not (mask & fold.fit).any()
            if not row_seen:
                assert not rows & set(pairs.targets[mask])
            if not column_seen:
                assert not columns & set(pairs.sources[mask])
            if name == "Q1" and mask.any():
                assert set(pairs.targets[mask]) <= rows
                assert set(pairs.sources[mask]) <= columns


def test_the_mirror_image_of_a_judged_pair_is_never_fitted():
    pairs = scattered()
    for fold in folds(pairs, seed=1):
        fitted = set(zip(pairs.targets[fold.fit], pairs.sources[fold.fit], strict=True))
        q4 = fold.quadrants["Q4"]
        mirrored = set(zip(pairs.sources[q4], pairs.targets[q4], strict=True))
        assert not fitted & mirrored


def test_folds_follow_the_samples_not_the_order_of_the_pairs():
    pairs = scattered()
    order = np.random.default_rng(5).permutation(len(pairs))
    shuffled = SeedPairs(pairs.targets[order], pairs.sources[order], pairs.values[order])
    for one, other in zip(folds(pairs, seed=2), folds(shuffled, seed=2), strict=True):
        assert (one.quadrants["Q4"][order] == other.quadrants["Q4"]).all()


def test_another_seed_deals_other_folds():
    pairs = scattered()
    one, other = (next(folds(pairs, seed=seed)).quadrants["Q4"] for seed in (0, 1))
    assert (one != other).any()
