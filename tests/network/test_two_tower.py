"""The two-tower network: one dot product of learned vectors, stopped before it overfits."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import InputError
from influence_store.network import two_tower
from influence_store.network.figures import per_target, spearman
from influence_store.network.judged import Pairs
from influence_store.network.labels import SeedPairs

torch = pytest.importorskip("torch")

UNSEEN = slice(40, 60), slice(100, 120)


def row_rank(predicted: np.ndarray, truth: np.ndarray) -> float:
    rows, columns = (x.ravel() for x in np.indices(truth.shape))
    zero = np.zeros(truth.size)
    pairs = Pairs(truth.ravel(), zero, rows, columns, rows * 0)
    return float(per_target(pairs, predicted.ravel(), spearman).mean())


def test_interaction_is_learned_for_samples_never_labelled(planter):
    planted = planter.interaction(noise=0.1)
    estimator = two_tower.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    rows, columns = UNSEEN
    assert row_rank(estimator.predict(x[rows], x[columns]), planted.truth[rows, columns]) > 0.7


def test_main_effects_are_learned_for_samples_never_labelled(planter):
    planted = planter.additive(noise=0.1)
    estimator = two_tower.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    rows, columns = UNSEEN
    predicted, truth = estimator.predict(x[rows], x[columns]), planted.truth[rows, columns]
    assert np.corrcoef(predicted.mean(0), truth.mean(0))[0, 1] > 0.9
    assert np.corrcoef(predicted.mean(1), truth.mean(1))[0, 1] > 0.9


def test_vectors_multiply_to_what_the_torch_nets_say(planter):
    planted = planter.interaction()
    width = planted.features.values.shape[1]
    torch.manual_seed(3)
    f, g = two_tower._net(torch, width), two_tower._net(torch, width)
    target, source = two_tower._layers(f, g)
    x = planted.features.values
    p, q = x.astype(np.float64), x.astype(np.float64)
    for layer_t, layer_s in zip(target, source, strict=True):
        p, q = layer_t(p), layer_s(q)
    with torch.no_grad():
        vectors_t, vectors_s = f(torch.from_numpy(x)), g(torch.from_numpy(x))
        every = torch.arange(len(x))
        row, column = every.repeat_interleave(len(x)), every.repeat(len(x))
        whole = two_tower._predicted(vectors_t, vectors_s, row, column).numpy()
    np.testing.assert_allclose((p @ q.T).ravel(), whole, atol=2e-5)


def test_what_a_member_is_stopped_by_shares_no_sample_with_what_it_fits(planter):
    pairs = planter.interaction().pairs
    folds = list(two_tower._inner_folds(pairs, seed=0))
    assert len(folds) == two_tower.MEMBERS
    for fitted, judged in folds:
        assert not set(pairs.targets[fitted]) & set(pairs.targets[judged])
        assert not set(pairs.sources[fitted]) & set(pairs.sources[judged])
        assert (fitted.sum(), judged.sum()) == (30 * 30, 10 * 10)
    judged_targets = np.concatenate([np.unique(pairs.targets[judged]) for _, judged in folds])
    assert sorted(judged_targets) == list(range(40))


def test_pure_noise_is_stopped_early_and_never_learned_by_heart(planter):
    planted = planter.noise()
    estimator = two_tower.fit(planted.pairs, planted.features, seed=0)
    assert np.mean(estimator.facts["steps"]) < two_tower.STEPS / 2
    x = planted.features.values
    seen = estimator.predict(x[:40], x[60:100])
    assert seen.std() < 0.5 * planted.pairs.values.std()


def test_the_same_seed_gives_the_same_bits_and_leaves_torch_alone(planter):
    planted = planter.interaction(noise=0.3)
    x = planted.features.values
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, other = (two_tower.fit(planted.pairs, planted.features, seed=1) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(one.predict(x, x), other.predict(x, x))
    third = two_tower.fit(planted.pairs, planted.features, seed=2)
    assert np.abs(third.predict(x, x) - one.predict(x, x)).max() > 0


def test_labels_in_other_units_give_the_same_estimate_in_those_units(planter):
    planted = planter.interaction(noise=0.3)
    other = SeedPairs(
        planted.pairs.targets, planted.pairs.sources, 1000.0 * planted.pairs.values - 5.0
    )
    x = planted.features.values
    one = two_tower.fit(planted.pairs, planted.features, seed=0).predict(x, x)
    scaled = two_tower.fit(other, planted.features, seed=0).predict(x, x)
    np.testing.assert_allclose(scaled, 1000.0 * one - 5.0, atol=1.0 * planted.pairs.values.std())


def test_few_sources_are_stopped_by_error_where_no_row_can_be_ranked(planter):
    planted = planter.interaction()
    few = planted.pairs.take(planted.pairs.sources < 66)  # 1 or 2 unseen sources per target
    estimator = two_tower.fit(few, planted.features, seed=0)
    assert np.isfinite(estimator.predict(planted.features.values, planted.features.values)).all()


def test_sparse_design_without_unseen_pairs_still_stops_on_pairs_not_fitted(planter):
    planted = planter.interaction()
    diagonal = planted.pairs.take(planted.pairs.sources == planted.pairs.targets + 60)
    for fitted, judged in two_tower._inner_folds(diagonal, seed=0):
        assert judged.any()
        assert not (fitted & judged).any()


def test_labels_too_few_to_keep_any_back_are_refused(planter):
    one_row = SeedPairs(np.array([0, 0]), np.array([60, 61]), np.array([0.0, 1.0]))
    with pytest.raises(InputError, match="2 pairs leave nothing to fit"):
        two_tower.fit(one_row, planter.features, seed=0)


def test_equal_labels_give_a_finite_estimate_near_the_label(planter):
    planted = planter.block(np.full((120, 120), 0.25))
    estimator = two_tower.fit(planted.pairs, planted.features, seed=0)
    x = planted.features.values
    assert np.abs(estimator.predict(x, x) - 0.25).mean() < 0.2


def test_an_exported_file_computes_the_same(planter):
    pytest.importorskip("onnx")
    from influence_store.exporters.onnx import check_parity, export_onnx

    planted = planter.interaction(noise=0.1)
    estimator = two_tower.fit(planted.pairs, planted.features, seed=0)
    content = export_onnx(estimator, fingerprints={}, probe=planted.features.values)
    assert check_parity(content, estimator, planted.features.values) <= 1e-5
