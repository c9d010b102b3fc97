from __future__ import annotations

import numpy as np
import pytest
from toy_learner import ToyLearner, random_task, toy_checkpoint, toy_sample

from influence_store.errors import Incompatible
from influence_store.influence.less import (
    Less,
    adam_direction,
    aggregate,
    max_over_subtasks,
    mean_over_shots,
)
from influence_store.schema.sample import Sample


def _less(method, targets, sources):
    return method.vectors(targets, "target").vectors @ method.vectors(sources, "source").vectors.T


def test_without_moments_adam_steps_by_the_sign_of_the_gradient():
    # methods.md §4.6
    direction = adam_direction(np.array([2.0, -0.5], np.float32), toy_checkpoint([0, 0]))
    np.testing.assert_allclose(direction, [3.16227, -3.16221], atol=2e-5)


def test_moments_and_the_gradient_mix_by_their_betas():
    # m⁺ = .9·1 + .1·2 = 1.1, v⁺ = .999·4 + .001·4 = 4
    direction = adam_direction(np.array([2.0], np.float32), toy_checkpoint([0], m=1.0, v=4.0))
    np.testing.assert_allclose(direction, [0.55], atol=1e-6)


def test_cosines_are_weighted_by_learning_rates_that_sum_to_one():
    # methods.md §4.6: cosines (.6, −.2), weights (.75, .25) → .4. At w = 0 the gradient is −y·x;
    # with v the same for both coordinates Γ points where the momentum and it do: along `wanted`.
    learner = ToyLearner(2)
    target, source = toy_sample((1, 0), -1), toy_sample((0, 1), -1)

    def checkpoint(wanted, rate):
        m = (np.array(wanted) - 0.1 * np.array([0.0, 1.0])) / 0.9
        return toy_checkpoint([0, 0], rate=rate, m=m, v=1e4)

    checkpoints = [checkpoint((0.6, 0.8), 3e-5), checkpoint((-0.2, 0.96**0.5), 1e-5)]
    np.testing.assert_allclose(
        _less(Less(learner, checkpoints), [target], [source]), 0.4, atol=1e-6
    )


def test_scores_equal_the_formula_written_out_for_every_pair():
    learner, checkpoints, samples = random_task(0)
    targets, sources = samples[:3], samples[3:]
    expected = np.zeros((3, 6))
    total = sum(one.learning_rate for one in checkpoints)
    for one in checkpoints:
        with learner.at(one):
            for i, target in enumerate(targets):
                g = learner.gradient(learner.read(target)).ravel()
                for j, source in enumerate(sources):
                    h = learner.gradient(learner.read(source)).ravel()
                    m = 0.9 * one.exp_avg + 0.1 * h
                    gamma = m / np.sqrt(0.999 * one.exp_avg_sq + 0.001 * h**2 + 1e-8)
                    cosine = g @ gamma / np.linalg.norm(g) / np.linalg.norm(gamma)
                    expected[i, j] += one.learning_rate / total * cosine
    np.testing.assert_allclose(
        _less(Less(learner, checkpoints), targets, sources), expected, atol=1e-5
    )


def test_only_the_source_side_knows_the_optimizer():
    learner, checkpoints, samples = random_task(1)
    still = [toy_checkpoint(one.weights, rate=one.learning_rate) for one in checkpoints]
    with_moments, without = Less(learner, checkpoints), Less(learner, still)
    for side, same in (("target", True), ("source", False)):
        a, b = (method.vectors(samples, side).vectors for method in (with_moments, without))
        assert np.allclose(a, b, atol=1e-6) is same
    assert not with_moments.symmetric


def test_projected_scores_are_near_the_exact_ones():
    learner, rng = ToyLearner(2000, 3), np.random.default_rng(2)
    checkpoints = [toy_checkpoint(0.01 * rng.normal(size=6000), v=0.1) for _ in range(2)]
    topics = rng.normal(size=(3, 2000))
    samples = [toy_sample(topics[k % 3] + rng.normal(size=2000), k % 2) for k in range(20)]
    exact = _less(Less(learner, checkpoints, dim=None), samples[:8], samples[8:])
    method = Less(learner, checkpoints, dim=1024)
    projected = _less(method, samples[:8], samples[8:])
    assert (method.dim, method.width) == (2048, 1024)
    assert np.ptp(exact) > 0.5
    assert np.max(np.abs(projected - exact)) < 0.12
    assert np.corrcoef(projected.ravel(), exact.ravel())[0, 1] > 0.9


def test_every_measured_vector_has_length_one():
    learner, checkpoints, samples = random_task(3)
    method = Less(learner, checkpoints)
    for side in ("target", "source"):
        lengths = np.linalg.norm(method.vectors(samples, side).vectors, axis=1)
        np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


def test_a_sample_without_gradient_length_or_response_is_nan_not_zero():
    learner, checkpoints, samples = random_task(4)
    odd = [toy_sample([0] * 5, 1), toy_sample([1] * 6, 1), Sample.of("1 2 3 4 5", "")]
    for side in ("target", "source"):
        got = Less(learner, checkpoints).vectors([*odd, *samples], side)
        assert np.isnan(got.vectors[:3]).all()
        assert np.isfinite(got.vectors[3:]).all()
        assert got.n_tokens[:4].tolist() == [1, 0, 0, 1]
        assert got.truncated[:4].tolist() == [False, True, False, False]


def test_a_row_does_not_depend_on_the_others_and_two_passes_per_sample_are_spent():
    learner, checkpoints, samples = random_task(5, n_features=700)
    method = Less(learner, checkpoints)
    together = method.vectors(samples, "source").vectors
    assert learner.ledger.llm_passes == 2 * len(samples)
    backwards = method.vectors(samples[::-1], "source").vectors[::-1]
    alone = [method.vectors([sample], "source").vectors[0] for sample in samples]
    np.testing.assert_array_equal(backwards, together)
    np.testing.assert_array_equal(alone, together)


def test_the_model_is_left_as_it_was():
    learner, checkpoints, samples = random_task(6)
    before = learner.weights.copy()
    Less(learner, checkpoints).vectors(samples, "source")
    np.testing.assert_array_equal(learner.weights, before)


def test_no_samples_give_no_rows():
    learner, checkpoints, _ = random_task(7)
    assert Less(learner, checkpoints).vectors([], "target").vectors.shape == (0, 30)


def test_projection_and_checkpoints_are_part_of_the_identity():
    learner, checkpoints, _ = random_task(8, n_features=700)
    made = [
        Less(learner, checkpoints),
        Less(learner, checkpoints, seed=1),
        Less(learner, checkpoints, dim=512),
        Less(learner, checkpoints, dim=None),
        Less(learner, checkpoints[:1]),
        Less(learner, checkpoints[::-1]),
    ]
    assert len({str(method.facts) for method in made}) == len(made)
    assert Less(learner, checkpoints).facts == made[0].facts


def test_checkpoints_that_do_not_fit_or_say_nothing_are_refused():
    learner, checkpoints, _ = random_task(9)
    with pytest.raises(Incompatible, match="has 4 weights, toy trains 15"):
        Less(learner, [*checkpoints, toy_checkpoint(np.zeros(4))])
    with pytest.raises(ValueError, match="at least 1 checkpoint"):
        Less(learner, [])
    with pytest.raises(ValueError, match="learning rate 0"):
        Less(learner, [toy_checkpoint(np.zeros(15), rate=0.0)])


def test_a_gradient_that_is_not_finite_is_an_error_not_a_value():
    learner, _, samples = random_task(10)
    broken = toy_checkpoint(np.full(15, np.inf))
    with pytest.raises(Incompatible, match="not finite"), np.errstate(invalid="ignore"):
        Less(learner, [broken]).vectors(samples, "target")


def test_mean_over_shots_comes_before_max_over_subtasks():
    # methods.md §4.6: not mean(max) = .4, not the global mean .25
    per_subtask, best = aggregate(np.array([[0.1, 0.3, 0.5, 0.1]]), np.array(list("aabb")))
    np.testing.assert_allclose(per_subtask, [[0.2, 0.3]])
    np.testing.assert_allclose(best, [0.3])


def test_subtasks_may_be_mixed_and_of_unequal_size():
    scores = np.array([[1.0, 2.0, 4.0, 6.0], [0.0, 9.0, 0.0, 3.0]])
    per_subtask = mean_over_shots(scores, np.array([7, 3, 7, 7]))
    np.testing.assert_allclose(per_subtask, [[2.0, 11 / 3], [9.0, 1.0]])
    np.testing.assert_allclose(max_over_subtasks(per_subtask), [11 / 3, 9.0])


def test_a_target_that_was_not_measured_does_not_count():
    scores = np.array([[0.2, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    per_subtask, best = aggregate(scores, np.array([0, 0, 1]))
    np.testing.assert_allclose(per_subtask, [[0.2, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(best, [0.2, np.nan])


def test_a_label_for_every_target_is_demanded():
    with pytest.raises(ValueError, match="2 subtask labels for 3 targets"):
        aggregate(np.zeros((4, 3)), np.array([0, 1]))
