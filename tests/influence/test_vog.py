from __future__ import annotations

import numpy as np
import pytest
from toy_learner import ToyLearner, random_task, toy_checkpoint, toy_sample

from influence_store.influence.vog import Vog, dispersion, normalised
from influence_store.schema.sample import Sample


@pytest.mark.parametrize(("reduce", "expected"), [("std", 0.5), ("root-k", 0.5**0.5), ("var", 0.5)])
def test_a_linear_model_has_the_dispersion_of_its_weights_whatever_the_input(reduce, expected):
    # methods.md §8.6: the gold class's weights are (1, 0), then (3, 0)
    learner = ToyLearner(2, 2)
    checkpoints = [toy_checkpoint([[1, 0], [5, 5]]), toy_checkpoint([[3, 0], [9, 1]])]
    samples = [toy_sample(x, 0) for x in ((1, 2), (-7, 0.5))]
    got = Vog(learner, checkpoints, reduce=reduce).score(samples).values["vog"]
    np.testing.assert_allclose(got, expected, atol=1e-7)


def test_forms_differ_by_more_than_a_factor():
    # "std" is the mean of roots, the others are means of squares: (3, 0) and (2, 2) swap ranks.
    peaked, flat = (np.array([[[0, 0]], [[2 * a, 2 * b]]]) for a, b in ((3.0, 0.0), (2.0, 2.0)))
    assert dispersion(peaked, "std") < dispersion(flat, "std")
    assert dispersion(peaked, "var") > dispersion(flat, "var")
    assert dispersion(peaked, "root-k") > dispersion(flat, "root-k")


def test_three_checkpoints_over_positions_and_dimensions():
    gradients = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    spread = gradients.astype(np.float64).var(axis=0)
    np.testing.assert_allclose(dispersion(gradients, "std"), np.sqrt(spread).mean())
    np.testing.assert_allclose(dispersion(gradients, "var"), spread.mean())
    np.testing.assert_allclose(dispersion(gradients, "root-k"), spread.mean() * 3**0.5)


def test_what_does_not_change_has_no_variance_even_if_it_is_large():
    assert dispersion(np.full((4, 2, 3), 1e6, np.float32)) == 0.0


def test_unread_samples_are_nan_and_chunks_do_not_matter(monkeypatch):
    learner, checkpoints, samples = random_task(0, n_checkpoints=3)
    method = Vog(learner, checkpoints)
    alone = [method.score([sample]).values["vog"][0] for sample in samples]
    for tokens in (1, 13, 1024):
        monkeypatch.setattr("influence_store.influence.vog._CHUNK_TOKENS", tokens)
        got = method.score([Sample.of("1", ""), *samples, toy_sample([1] * 6, 1)])
        np.testing.assert_array_equal(got.values["vog"], [np.nan, *alone, np.nan])
    assert got.truncated[[0, -1]].tolist() == [False, True]


def test_one_checkpoint_or_an_unknown_form_is_refused():
    learner, checkpoints, _ = random_task(1)
    with pytest.raises(ValueError, match="at least 2 checkpoints"):
        Vog(learner, checkpoints[:1])
    with pytest.raises(ValueError, match="std, root-k, var"):
        Vog(learner, checkpoints, reduce="mean")


def test_the_form_is_part_of_the_identity():
    learner, checkpoints, _ = random_task(2)
    assert Vog(learner, checkpoints).facts != Vog(learner, checkpoints, reduce="var").facts


def test_groups_are_normalised_by_themselves():
    values = np.array([1.0, 3.0, 10.0, 30.0, np.nan])
    groups = np.array(["a", "a", "b", "b", "b"])
    np.testing.assert_allclose(normalised(values, groups), [-1, 1, -1, 1, np.nan])
    whole = normalised(values, np.zeros(5))
    assert np.argmax(whole[:4]) == 3
    assert abs(np.nanmean(whole)) < 1e-12


def test_equal_values_have_no_normalised_form():
    got = normalised(np.array([0.1, 0.1, 0.1, np.nan, 5.0]), np.array([0, 0, 0, 0, 1]))
    assert np.isnan(got).all()
