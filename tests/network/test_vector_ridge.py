"""A student of vectors: planted teachers whose vectors are maps of what features show."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from influence_store.errors import InputError
from influence_store.network import kernel_ridge
from influence_store.network.labels import SeedPairs
from influence_store.network.train import train
from influence_store.network.vector_ridge import MAX_RANK, TeacherVectors, fit_vectors

TARGETS, SOURCES = np.arange(40), np.arange(60, 100)
NONE = np.zeros(0, np.int64)


def block(planter, vectors: TeacherVectors, noise: float = 0.0) -> SeedPairs:
    truth = vectors.targets.astype(float) @ vectors.sources.astype(float).T
    return planter.block(truth, noise).pairs


@pytest.fixture
def teacher(planter):
    """Each side is another bent map of the embedding into 24 numbers."""
    e = planter.embedding.astype(float)
    left, right = planter.rng.normal(size=(2, e.shape[1], 24))
    return TeacherVectors(
        np.sin(0.8 * e @ left).astype("f"), np.sin(0.8 * e @ right).astype("f"), False, NONE
    )


@pytest.fixture
def one_sided(planter):
    e = planter.embedding.astype(float)
    vectors = np.sin(0.8 * e @ planter.rng.normal(size=(e.shape[1], 24))).astype("f")
    return TeacherVectors(vectors, vectors, True, NONE)


def test_unseen_products_are_told_better_than_by_a_student_of_the_pairs(planter, teacher):
    pairs = block(planter, teacher)
    truth = (teacher.targets @ teacher.sources.T)[40:60, 100:]
    unseen = planter.features.values[40:60], planter.features.values[100:]

    def r2(estimator) -> float:
        rest = truth - estimator.predict(*unseen)
        return 1 - float((rest**2).sum() / ((truth - pairs.values.mean()) ** 2).sum())

    own = fit_vectors(pairs, planter.features, seed=0, vectors=teacher)
    of_pairs = kernel_ridge.fit(pairs, planter.features, seed=0)
    assert r2(own) > 0.5
    assert r2(own) > r2(of_pairs)


@pytest.mark.parametrize("side", ["targets", "sources"])
def test_rows_are_targets_also_where_the_teacher_is_lopsided(planter, teacher, side):
    vectors = {"targets": teacher.targets.copy(), "sources": teacher.sources.copy()}
    vectors[side][:] = np.abs(planter.features.block("lengths")[:, :1])
    odd = TeacherVectors(**vectors, symmetric=False, extra=NONE)
    estimator = fit_vectors(block(planter, teacher), planter.features, seed=0, vectors=odd)
    rows, columns = planter.features.values[:15], planter.features.values[60:67]
    told = estimator.predict(rows, columns)
    assert told.shape == (15, 7)
    truth = odd.targets[:15] @ odd.sources[60:67].T
    assert np.corrcoef(told.ravel(), truth.ravel())[0, 1] > 0.9
    assert estimator.facts["rank"] == 1


def test_leading_directions_keep_the_products_exactly_when_they_are_few(planter, teacher):
    from influence_store.network.vector_ridge import _eigen, _singular

    t, s = teacher.targets[:40].astype(float), teacher.sources[60:100].astype(float)
    p, q, captured = _singular(t, s)
    np.testing.assert_allclose(p @ q.T, t @ s.T, atol=1e-3)
    assert captured > 1 - 1e-7
    both, captured = _eigen(s)
    np.testing.assert_allclose(both @ both.T, s @ s.T, atol=1e-3 * (s @ s.T).max())
    assert captured > 1 - 1e-7


def test_a_cut_is_the_best_approximation_of_its_rank(monkeypatch, teacher):
    monkeypatch.setattr("influence_store.network.vector_ridge.MAX_RANK", 3)
    from influence_store.network.vector_ridge import _singular

    t, s = teacher.targets[:40].astype(float), teacher.sources[60:90].astype(float)
    p, q, captured = _singular(t, s)
    u, sigma, vt = np.linalg.svd(t @ s.T)
    np.testing.assert_allclose(p @ q.T, (u[:, :3] * sigma[:3]) @ vt[:3], atol=1e-9)
    assert captured == pytest.approx((sigma[:3] ** 2).sum() / (sigma**2).sum())
    assert p.shape == (40, 3)
    assert MAX_RANK > 3


@pytest.mark.parametrize("symmetric", [False, True])
def test_vectors_of_samples_outside_the_pairs_are_never_read(
    planter, teacher, one_sided, symmetric
):
    known = one_sided if symmetric else teacher
    pairs = block(planter, known)
    hidden = TeacherVectors(known.targets.copy(), known.sources.copy(), symmetric, NONE)
    hidden.targets[~np.isin(np.arange(120), [*TARGETS, *(SOURCES if symmetric else [])])] = 1e6
    hidden.sources[~np.isin(np.arange(120), [*SOURCES, *(TARGETS if symmetric else [])])] = 1e6
    one, other = (fit_vectors(pairs, planter.features, seed=0, vectors=v) for v in (known, hidden))
    x = planter.features.values
    np.testing.assert_array_equal(one.predict(x, x), other.predict(x, x))


def test_extra_vectors_teach(planter, teacher):
    pairs = block(planter, teacher)
    free = np.arange(100, 120)
    more = TeacherVectors(teacher.targets, teacher.sources, False, free)
    plain, richer = (
        fit_vectors(pairs, planter.features, seed=0, vectors=v) for v in (teacher, more)
    )
    assert richer.facts["source_vectors"] == plain.facts["source_vectors"] + 20
    truth = (teacher.targets @ teacher.sources.T)[40:60, 40:60]
    asked = planter.features.values[40:60]
    rest = [float(((truth - one.predict(asked, asked)) ** 2).sum()) for one in (plain, richer)]
    assert rest[1] < rest[0]


def test_a_symmetric_teacher_has_a_symmetric_student(planter, one_sided):
    estimator = fit_vectors(block(planter, one_sided), planter.features, seed=0, vectors=one_sided)
    x = planter.features.values[:30]
    told = estimator.predict(x, x)
    np.testing.assert_allclose(told, told.T, atol=1e-9)
    assert estimator.facts["target_vectors"] == estimator.facts["source_vectors"] == 80


def test_vectors_that_features_do_not_know_become_their_mean(planter):
    noise = planter.rng.normal(size=(2, 120, 24)).astype("f")
    blind = TeacherVectors(noise[0] + 1, noise[1] + 1, False, NONE)
    estimator = fit_vectors(block(planter, blind), planter.features, seed=0, vectors=blind)
    x = planter.features.values
    told = estimator.predict(x[40:60], x[100:])
    truth = blind.targets[40:60] @ blind.sources[100:].T
    assert told.std() < 0.4 * truth.std()
    assert told.mean() == pytest.approx(24.0, rel=0.25)
    assert estimator.facts["left_out_r2"]["targets"] < 0.1


def test_unmeasured_vectors_are_left_out_and_too_few_are_refused(planter, teacher):
    holes = TeacherVectors(teacher.targets.copy(), teacher.sources.copy(), False, NONE)
    holes.sources[60:70] = np.nan
    pairs = block(planter, teacher)
    estimator = fit_vectors(pairs, planter.features, seed=0, vectors=holes)
    assert estimator.facts["source_vectors"] == 30
    holes.sources[60:98] = np.nan
    with pytest.raises(InputError, match="2 samples have a source vector"):
        fit_vectors(pairs, planter.features, seed=0, vectors=holes)


def test_it_is_judged_and_chosen_beside_the_networks_of_pairs(planter, teacher):
    trained = train(
        block(planter, teacher, noise=0.0),
        planter.features,
        networks=("two-step-kernel-ridge",),
        more={"vector-ridge": partial(fit_vectors, vectors=teacher)},
        seed=0,
    )
    assert trained.estimator.network == "vector-ridge"
    assert trained.card.verdict == "trusted"
    own = trained.held_out.spearman("vector-ridge").mean()
    assert own > trained.held_out.spearman("two-step-kernel-ridge").mean()


def test_it_exports_like_any_estimator_of_pairs(planter, teacher):
    pytest.importorskip("onnx")
    from influence_store.exporters.onnx import export_onnx
    from influence_store.network.onnx_estimator import OnnxEstimator

    estimator = fit_vectors(block(planter, teacher), planter.features, seed=0, vectors=teacher)
    loaded = OnnxEstimator(
        export_onnx(estimator, fingerprints={}, probe=planter.features.values), device="cpu"
    )
    x = planter.features
    told = loaded.influence(loaded.target_vectors(x), loaded.source_vectors(x))
    expected = estimator.predict(x.values, x.values)
    np.testing.assert_allclose(told, expected, atol=2e-4)
    assert json.loads(json.dumps(estimator.facts))["rank"] == 24
