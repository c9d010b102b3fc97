from itertools import combinations

import numpy as np
import pytest

from influence_store.network.judged import Pairs
from influence_store.network.selection_gain import expected_maximum, selection_gain
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView


def judged(matrix, fold=0, targets=None, sources=None):
    rows, columns = np.indices(matrix.shape).reshape(2, -1)
    targets = np.arange(len(matrix)) if targets is None else targets
    sources = np.arange(matrix.shape[1]) if sources is None else sources
    return Pairs(
        matrix.ravel(), rows * 0.0, targets[rows], sources[columns], np.full(rows.shape, fold)
    )


def test_expected_maximum_is_the_mean_over_all_sets():
    values = np.random.default_rng(0).normal(size=(3, 7))
    for size in range(1, 8):
        sets = [values[:, list(one)].max(axis=1) for one in combinations(range(7), size)]
        np.testing.assert_allclose(expected_maximum(values, size), np.mean(sets, axis=0))


def test_labels_themselves_have_gain_1_and_picking_the_worst_is_below_0():
    matrix = np.random.default_rng(1).normal(size=(30, 20))
    pairs = judged(matrix)
    assert selection_gain(pairs, matrix.ravel(), 0.1).gain == pytest.approx(1.0)
    assert selection_gain(pairs, -matrix.ravel(), 0.1).gain < 0


def test_gain_of_a_set_is_the_objective_between_random_and_teacher():
    rng = np.random.default_rng(2)
    truth, guess = rng.normal(size=(25, 12)), rng.normal(size=(25, 12))
    picks, ideal = (
        LazyGreedy().maximize(FacilityLocation(ArrayView(one), one.min() - 1), 4).items
        for one in (guess, truth)
    )
    every = [truth[:, list(one)].max(axis=1).sum() for one in combinations(range(12), 4)]
    value = {name: truth[:, one].max(axis=1).sum() for name, one in (("p", picks), ("t", ideal))}
    expected = (value["p"] - np.mean(every)) / (value["t"] - np.mean(every))
    assert selection_gain(judged(truth), guess.ravel(), 0.3).gain == pytest.approx(expected)


def test_level_of_a_target_is_irrelevant():
    rng = np.random.default_rng(3)
    truth, guess = rng.normal(size=(20, 15)), rng.normal(size=(20, 15))
    plain = selection_gain(judged(truth), guess.ravel(), 0.3)
    moved = selection_gain(judged(truth), (guess + 5 * rng.normal(size=(20, 1))).ravel(), 0.3)
    assert moved.gain == pytest.approx(plain.gain)


def test_additive_predictions_have_one_useful_pick():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(20, 15))
    additive = rng.normal(size=(20, 1)) + rng.normal(size=15)
    found = selection_gain(judged(truth), additive.ravel(), 0.3)
    assert (found.picks, found.useful) == (4, 1)


def test_folds_with_the_same_sources_are_one_block_and_others_are_not():
    rng = np.random.default_rng(5)
    whole = rng.normal(size=(16, 8)), rng.normal(size=(16, 8))
    other = rng.normal(size=(16, 8)), rng.normal(size=(16, 8))
    top, bottom = judged(whole[0][:8], 0), judged(whole[0][8:], 1, np.arange(8, 16))
    apart = judged(other[0], 2, sources=np.arange(8, 16))
    pairs = Pairs(
        *(
            np.concatenate([getattr(one, name) for one in (top, bottom, apart)])
            for name in ("truth", "baseline", "targets", "sources", "folds")
        )
    )
    guess = np.concatenate([whole[1].ravel(), other[1].ravel()])
    found = selection_gain(pairs, guess, 0.3)
    alone = [selection_gain(judged(*one[:1]), one[1].ravel(), 0.3) for one in (whole, other)]
    assert found.own.sum() == pytest.approx(sum(one.own.sum() for one in alone))
    assert found.picks == 4


def test_contributions_of_targets_average_to_the_gain():
    rng = np.random.default_rng(6)
    truth, guess = rng.normal(size=(20, 15)), rng.normal(size=(20, 15))
    found = selection_gain(judged(truth), guess.ravel(), 0.1)
    assert found.per_target().mean() == pytest.approx(found.gain)
    assert len(found.per_target()) == 20


def test_blocks_too_small_or_too_sparse_are_not_judged():
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(20, 3))
    assert selection_gain(judged(matrix), matrix.ravel(), 0.3) is None
    wide = judged(rng.normal(size=(20, 20)))
    few = rng.random(400) < 0.4
    sparse = Pairs(
        *(getattr(wide, n)[few] for n in ("truth", "baseline", "targets", "sources", "folds"))
    )
    assert selection_gain(sparse, sparse.truth, 0.3) is None


def test_unlabelled_cell_recommends_nobody():
    matrix = np.array([[9.0, 1, 2, 3], [0, 1, 5, 3], [4, 1, 2, 3]])
    pairs = judged(matrix)
    kept = np.ones(12, bool)
    kept[0] = False
    holed = Pairs(
        *(getattr(pairs, n)[kept] for n in ("truth", "baseline", "targets", "sources", "folds"))
    )
    found = selection_gain(holed, holed.truth, 0.25)
    matrix[0, 0] = 1
    assert found.own.sum() == pytest.approx((matrix[:, 2] - expected_maximum(matrix, 1)).sum())
