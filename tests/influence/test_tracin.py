from __future__ import annotations

import numpy as np
import pytest
from toy_learner import ToyLearner, random_task, toy_checkpoint, toy_sample

from influence_store.influence.tracin import GradientCosine, TracIn, TracInSelf
from influence_store.schema.sample import Sample

# methods.md §11.6: ℓ = ½(wx − y)², w = 0, z = (x, y) = (1, 1), z' = (2, 1), η = .1
Z, Z2 = toy_sample([1], 1), toy_sample([2], 1)


def _scores(method, targets, sources):
    return method.vectors(targets, "target").vectors @ method.vectors(sources, "source").vectors.T


def test_the_worked_example():
    learner, start = ToyLearner(1), toy_checkpoint([0], rate=0.1)
    np.testing.assert_allclose(_scores(TracIn(learner, [start]), [Z2], [Z]), [[0.2]], atol=1e-7)


def test_influence_is_the_drop_of_the_loss_up_to_the_second_order_term():
    learner, start = ToyLearner(1), toy_checkpoint([0], rate=0.1)
    influence = _scores(TracIn(learner, [start]), [Z2], [Z])[0, 0]
    g, x2 = learner.gradient(learner.read(Z))[0, 0], 2.0
    before = learner.loss(learner.read(Z2))
    with learner.at(toy_checkpoint([-0.1 * g])):
        drop = before - learner.loss(learner.read(Z2))
    np.testing.assert_allclose(drop, 0.18, atol=1e-7)
    np.testing.assert_allclose(drop, influence - 0.5 * (0.1 * g) ** 2 * x2**2, atol=1e-7)


def test_checkpoints_add_up_by_their_learning_rates():
    learner, checkpoints, samples = random_task(0)
    targets, sources = samples[:3], samples[3:]
    expected = np.zeros((3, 6))
    for one in checkpoints:
        with learner.at(one):
            g = [learner.gradient(learner.read(sample)).ravel() for sample in targets]
            h = [learner.gradient(learner.read(sample)).ravel() for sample in sources]
            expected += one.learning_rate * np.array(g) @ np.array(h).T
    np.testing.assert_allclose(
        _scores(TracIn(learner, checkpoints), targets, sources), expected, atol=1e-6
    )


def test_self_influence_is_the_diagonal_and_never_negative():
    learner, checkpoints, samples = random_task(1)
    full = _scores(TracIn(learner, checkpoints, dim=None), samples, samples)
    values = TracInSelf(learner, checkpoints).score(samples).values["tracin-self"]
    np.testing.assert_allclose(values, np.diag(full), rtol=1e-5)
    assert (values >= 0).all()


def test_cosine_ignores_how_long_a_gradient_is_and_weighs_checkpoints_alike():
    # At w the gradient of ½(w·x − y)² is (w·x − y)·x. First checkpoint: −x both, cosine .6;
    # second, w = (2, 0): +x for the target, −x for the source, cosine −.6.
    learner = ToyLearner(2)
    checkpoints = [toy_checkpoint([0, 0], rate=0.9), toy_checkpoint([2, 0], rate=0.1)]
    target, source = toy_sample((1, 0), 1), toy_sample((3, 4), 7)
    method = GradientCosine(learner, checkpoints)
    np.testing.assert_allclose(_scores(method, [target], [source]), 0.0, atol=1e-7)
    once = GradientCosine(learner, checkpoints[:1])
    np.testing.assert_allclose(_scores(once, [target], [source]), 0.6, atol=1e-7)


def test_cosine_of_a_sample_with_itself_is_one():
    learner, checkpoints, samples = random_task(2, n_features=900)
    own = _scores(GradientCosine(learner, checkpoints), samples, samples)
    np.testing.assert_allclose(np.diag(own), 1.0, atol=1e-6)
    assert np.abs(own).max() <= 1.0 + 1e-6


@pytest.mark.parametrize("kind", [TracIn, GradientCosine])
def test_both_sides_have_the_same_vectors(kind):
    learner, checkpoints, samples = random_task(3)
    method = kind(learner, checkpoints)
    target, source = (method.vectors(samples, side).vectors for side in ("target", "source"))
    np.testing.assert_array_equal(target, source)
    assert method.symmetric


def test_a_zero_gradient_has_no_influence_but_also_no_direction():
    learner, checkpoints, _ = random_task(4)
    still = [toy_sample([0] * 5, 0)]
    assert not TracIn(learner, checkpoints).vectors(still, "source").vectors.any()
    assert np.isnan(GradientCosine(learner, checkpoints).vectors(still, "source").vectors).all()
    assert TracInSelf(learner, checkpoints).score(still).values["tracin-self"] == 0.0


def test_unread_samples_are_nan_not_zero():
    learner, checkpoints, samples = random_task(5)
    odd = [toy_sample([1] * 6, 1), Sample.of("1 2 3 4 5", "")]
    got = TracInSelf(learner, checkpoints).score([*odd, *samples])
    assert np.isnan(got.values["tracin-self"][:2]).all()
    assert np.isfinite(got.values["tracin-self"][2:]).all()
    assert got.truncated[:3].tolist() == [True, False, False]
    assert np.isnan(TracIn(learner, checkpoints).vectors(odd, "source").vectors).all()


def test_methods_on_the_same_checkpoints_have_different_identities():
    learner, checkpoints, _ = random_task(6)
    facts = [kind(learner, checkpoints).facts for kind in (TracIn, GradientCosine, TracInSelf)]
    assert len({str(one) for one in facts}) == 3
