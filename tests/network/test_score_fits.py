from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from influence_store.errors import Incompatible
from influence_store.network import score_net
from influence_store.network.features import Features
from influence_store.network.score_fits import (
    fit_kernel_ridge,
    fit_length,
    fit_mean,
    fit_neighbours,
    fit_ridge,
    ranks,
)
from influence_store.network.score_labels import score_folds, usable_scores
from influence_store.network.score_train import SCORE_FITS
from influence_store.schema.estimator import Affine, ScoreEstimator, ScoreHead, Tower, through

ON_RANKS = [fit_length, fit_ridge, fit_neighbours, fit_kernel_ridge]


@pytest.fixture
def read(planter) -> Features:
    return planter.features


def rows(features: Features, which) -> Features:
    return Features(features.values[which], features.names, features.dims)


@pytest.fixture
def curve(read):
    """A score that bends with the embedding; half of the rows are labelled."""
    score = np.sin(6 * read.values[:, 0].astype(float)) + 0.5 * read.values[:, 1]
    return score, np.arange(60), np.arange(60, 120)


@pytest.mark.parametrize("fit", ON_RANKS)
def test_a_monotone_map_of_the_labels_changes_no_predicted_rank(read, curve, fit):
    score, seen, _ = curve
    plain = fit(score[seen], rows(read, seen), seed=0)
    bent = fit(np.exp(4 * score[seen]), rows(read, seen), seed=0)
    x = read.select(plain.features).values
    np.testing.assert_array_equal(plain.tower(x), bent.tower(x))


@pytest.mark.parametrize("fit", ON_RANKS)
def test_estimates_are_told_in_the_units_of_the_labels(read, curve, fit):
    score, seen, unseen = curve
    estimator = fit(1000 + 50 * score[seen], rows(read, seen), seed=0)
    told = estimator.predict(read.select(estimator.features).values[unseen])
    low, high = np.quantile(1000 + 50 * score[seen], [0.01, 0.99])
    assert low <= told.min()
    assert told.max() <= high
    assert abs(np.median(told) - np.median(1000 + 50 * score[seen])) < 50 * score.std()


@pytest.mark.parametrize("fit", [fit_neighbours, fit_kernel_ridge])
def test_unseen_rows_are_ranked(read, curve, fit):
    score, seen, unseen = curve
    estimator = fit(score[seen], rows(read, seen), seed=0)
    told = estimator.predict(read.select(estimator.features).values[unseen])
    assert spearmanr(told, score[unseen]).statistic > 0.4


def test_one_huge_label_moves_no_other_estimate(read, curve):
    score, seen, unseen = curve
    top = int(np.argmax(score[seen]))
    wild = score[seen].copy()
    wild[top] = 1e9
    for fit in ON_RANKS:
        plain, bent = (fit(y, rows(read, seen), seed=0) for y in (score[seen], wild))
        x = read.select(plain.features).values[unseen]
        below = plain.tower(x)[:, 0] < 0.9
        np.testing.assert_allclose(plain.predict(x)[below], bent.predict(x)[below])


def test_the_mean_says_the_mean(read, curve):
    score, seen, unseen = curve
    estimator = fit_mean(score[seen], rows(read, seen), seed=0)
    np.testing.assert_allclose(estimator.predict(read.values[unseen]), score[seen].mean())


def test_length_reads_lengths_and_nothing_else(read, curve):
    _, seen, _ = curve
    lengths = read.block("lengths")[:, 0].astype(float)
    estimator = fit_length(lengths[seen], rows(read, seen), seed=0)
    assert estimator.features == ("lengths",)
    told = estimator.predict(read.block("lengths"))
    assert spearmanr(told, lengths).statistic > 0.95


def test_neighbours_are_a_weighted_mean_by_cosine(read, curve):
    score, seen, unseen = curve
    estimator = fit_neighbours(score[seen], rows(read, seen), seed=0)
    e = read.block("embedding").astype(float)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    weights = np.exp(estimator.facts["sharpness"] * e[unseen] @ e[seen].T)
    expected = weights @ ranks(score[seen]) / weights.sum(1)
    np.testing.assert_allclose(
        estimator.tower(read.block("embedding")[unseen])[:, 0], expected, atol=1e-6
    )


def test_sharpness_is_chosen_without_the_row_itself(read):
    noise = np.random.default_rng(0).normal(size=120)
    # A row that may vote for itself is told best by the sharpest vote of all, 64.
    assert fit_neighbours(noise, read, seed=0).facts["sharpness"] <= 4.0


def test_equal_labels_share_their_rank():
    np.testing.assert_allclose(ranks(np.array([3.0, 1.0, 3.0, 9.0])), [0.5, 0.125, 0.5, 0.875])


def test_the_published_net_taken_apart_says_what_the_module_says(read, curve):
    torch = pytest.importorskip("torch")
    score, seen, _ = curve
    estimator = score_net.fit(score[seen], rows(read, seen), seed=4)
    network, loss = score_net.train_network(
        score[seen], rows(read, seen).select(["embedding"]), seed=4
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(read.block("embedding").copy()))[:, 0].numpy()
    np.testing.assert_allclose(estimator.predict(read.block("embedding")), expected, atol=1e-6)
    assert estimator.facts["last_epoch_mse"] == loss
    assert sum(p.numel() for p in network.parameters()) == (12 + 1) * 100 + 101


def test_the_published_net_has_as_many_weights_as_published():
    pytest.importorskip("torch")
    wide = Features.of({"embedding": np.eye(2, 1024, dtype=np.float32)})
    network, _ = score_net.train_network(np.array([0.0, 1.0]), wide, seed=0)
    assert sum(p.numel() for p in network.parameters()) == 102_601


@pytest.mark.parametrize("name", SCORE_FITS)
def test_the_same_seed_gives_the_same_student_with_facts_as_json(read, curve, name):
    if name == "score-net":
        pytest.importorskip("torch")
    score, seen, unseen = curve
    one, other = (SCORE_FITS[name](score[seen], rows(read, seen), seed=3) for _ in range(2))
    x = read.select(one.features).values[unseen]
    np.testing.assert_array_equal(one.predict(x), other.predict(x))
    assert json.loads(json.dumps(one.facts))["labels"]["samples"] == 60
    assert one.network == name


def test_length_without_lengths_is_refused(planter):
    only = planter.features.select(["embedding"])
    with pytest.raises(Incompatible, match="lengths are needed"):
        fit_length(np.arange(120.0), only, seed=0)


def test_a_tower_of_two_outputs_is_no_score():
    two = Affine(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="2 outputs"):
        ScoreEstimator("x", ("e",), (3,), Tower((two,), 3, 2), ScoreHead("affine"), {})
    with pytest.raises(ValueError, match="do not fill"):
        ScoreEstimator("x", ("e",), (4,), Tower((two,), 3, 1), ScoreHead("affine"), {})


def test_quantiles_are_straight_between_levels_and_flat_outside():
    head = ScoreHead("quantiles", quantiles=np.array([0.0, 1.0, 10.0]))
    np.testing.assert_allclose(head(np.array([-1, 0.25, 0.5, 0.75, 2])), [0, 0.5, 1, 5.5, 10])


def test_unlabelled_and_unreadable_samples_are_dropped_and_counted():
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0])
    labels = usable_scores(values, np.array([True, True, False, True, True]))
    assert labels.samples.tolist() == [0, 4]
    assert labels.values.tolist() == [1.0, 5.0]
    assert labels.facts()["dropped: unlabelled"] == 2
    assert labels.facts()["dropped: no features"] == 1


def test_every_sample_is_judged_once_and_never_taught_by_itself_or_its_double(planter):
    e = planter.embedding.copy()
    e[7] = e[90]  # a double
    found = list(score_folds(e, count=5, seed=1))
    judged = np.concatenate([fold.judged for fold in found])
    assert sorted(judged.tolist()) == list(range(120))
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    for fold in found:
        assert (unit[fold.fit] @ unit[fold.judged].T).max() <= 0.98
        assert 95 <= len(fold.fit) <= 96
    assert {len(fold.fit) for fold in found} == {95, 96} or any(
        {7, 90} <= set(fold.judged.tolist()) for fold in found
    )
    for one, other in pairwise(found):
        assert not set(one.judged) & set(other.judged)


def test_softmax_weights_stay_finite_and_sum_to_one():
    from influence_store.schema.estimator import Softmax

    out = through((Softmax(),), np.array([[1000.0, 0.0], [-1000.0, -1000.0]]))
    np.testing.assert_allclose(out, [[1, 0], [0.5, 0.5]])
